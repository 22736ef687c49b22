"""Likelihoods of counts: whole numbers from 0 on."""
