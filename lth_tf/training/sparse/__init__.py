"""Training and evaluation of dense networks on their remaining weights only.

    network   what is left of a network: its weights, row by row
    vectors   loops over the weights of one unit, as vector instructions
    kernels   many updates, and evaluations, as compiled functions
    loop      what the Trainer drives in place of the compiled loop

numba compiles it, and takes a second to import: only who uses it waits.
"""
