"""Audits of a trained generator: has it learned its training scans by heart?"""
