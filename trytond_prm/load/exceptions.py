# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.


class LoadError(Exception):
    "The folder can not be loaded into the database at all"

    def __init__(self, message, /, **values):
        super().__init__(message)
        self.message = message
        self.values = values
