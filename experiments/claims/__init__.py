"""The paper's claims: data, one entry a claim, beside what runs say of each.

`claim` says what a claim is and by which rule it is judged, `trained` finds the runs of a seed,
`measures` compute numbers of them; `lenet`, `conv`, `deep` and `appendices` hold the claims,
`recipe` the commands that train all they need. A new claim is one entry.
"""
