"""Drawing: palette, scales and marks, each figure as inline SVG."""
