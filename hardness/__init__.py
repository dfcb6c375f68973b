"""What Intervox survives: kills, torn files, full disks, hostile files, crowds, clocks and odd places.

``python -m hardness`` runs every script and writes the counts into ``docs/hardness.md``; ``--share 0.01``
runs a hundredth of each, ``--only kills`` one of them. Nothing here leaves the machine.
"""
