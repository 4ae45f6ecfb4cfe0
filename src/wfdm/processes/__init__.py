"""Processes between data and noise, and samplers along them: pure functions with their equations.

A process is a module with `noised`, `target`, `predicted`, `clean`, `levels`, `training_times` and
`sampling_times`; a denoiser's settings name it. A sampler is a function in
`wfdm.processes.samplers`.
"""
