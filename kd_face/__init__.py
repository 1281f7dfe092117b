"""Face recognition for one machine: people, pictures, recognition, calibration, backup.

An application on top of the embedding networks; the extra ``face`` installs what it needs. Nothing
is imported here, and no other package of the project imports this one but its own command.
"""
