# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from decimal import Decimal

from trytond import backend
from trytond.modules.currency.fields import Monetary

_CENT = Decimal('0.01')


class AmountsMixin:
    "Give the computed amounts of a table query the same digits everywhere."
    __slots__ = ()

    @classmethod
    def read(cls, ids, fields_names):
        rows = super().read(ids, fields_names)
        if backend.name == 'sqlite':
            # SQLite computes with floating point, which drops trailing zeros
            names = [
                n for n in fields_names
                if isinstance(cls._fields.get(n), Monetary)]
            for row in rows:
                for name in names:
                    value = row[name]
                    if (value is not None
                            and value.as_tuple().exponent
                            > _CENT.as_tuple().exponent):
                        row[name] = value.quantize(_CENT)
        return rows
