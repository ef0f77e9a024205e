"""All claims, in the order of the paper."""

from . import appendices, conv, deep, lenet

CLAIMS = (*lenet.CLAIMS, *conv.CLAIMS, *deep.CLAIMS, *appendices.CLAIMS)
