"""What people look at: pictures, pages and tables of a measured run, from its place in storage.

Each view is a function of a `RunView`; what it draws is made in `spectro/report/`, which knows no
storage.
"""
