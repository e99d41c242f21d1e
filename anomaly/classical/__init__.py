"""Restorers that learn nothing: interpolation, filters, fillings; the floors under whatever is learned.

Floor 3: may import what lies below. Imports degradations; imported by explain.painting and restoration.
"""
