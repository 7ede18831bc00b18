# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from decimal import Decimal

from trytond import backend
from trytond.i18n import gettext
from trytond.model import Model, fields
from trytond.modules.currency.fields import Monetary

from .exceptions import WorkflowAccessError


def get_parents(name, records, values=None):
    """Return the parents of the records

    Also the one to which the written values move the records.
    """
    parents = [getattr(r, name) for r in records]
    if records and values and values.get(name):
        Parent = records[0]._fields[name].get_target()
        parents.append(Parent(values[name]))
    return list(dict.fromkeys(parents))


class AmountsMixin:
    "Give the computed numbers of a table query the same digits everywhere."
    __slots__ = ()

    @classmethod
    def read(cls, ids, fields_names):
        rows = super().read(ids, fields_names)
        if backend.name == 'sqlite':
            # SQLite computes with floating point, which drops trailing zeros
            digits = {}
            for name in fields_names:
                field = cls._fields.get(name)
                if isinstance(field, Monetary):
                    digits[name] = 2
                elif (isinstance(field, fields.Numeric)
                        and isinstance(field.digits, tuple)
                        and isinstance(field.digits[1], int)):
                    digits[name] = field.digits[1]
            for row in rows:
                for name, digit in digits.items():
                    value = row[name]
                    if (value is not None
                            and -value.as_tuple().exponent < digit):
                        row[name] = value.quantize(Decimal(10) ** -digit)
        return rows


class MonthMixin:
    "Name the month of the date, by which all the clients draw a graph."
    __slots__ = ()

    # The desktop client draws each day of the dates
    month = fields.Function(
        fields.Char("Month", help="The year and the number of the month."),
        'get_month')

    def get_month(self, name):
        return f'{self.date:%Y-%m}' if self.date else None


class ReadonlyMixin:
    """Refuse that clients create, change or delete the records.

    They are written by the code only, for example by the transitions of the
    record they belong to, whose access rights give the one to read.
    """
    __slots__ = ()

    @classmethod
    def check_modification(cls, mode, records, values=None, external=False):
        super().check_modification(
            mode, records, values=values, external=external)
        if external:
            raise WorkflowAccessError(gettext(
                    'prm.msg_readonly_record',
                    **cls.__names__(record=records[0])))


class WorkflowAccessMixin:
    """Refuse that clients set what the buttons of the workflow set.

    The access rights let the users write on the record but the state and what
    is noted with it follow only from the transitions.
    """
    __slots__ = ()

    @classmethod
    def _workflow_fields(cls):
        "Return the names of the fields that only the workflow sets"
        return {'state'}

    @classmethod
    def check_modification(cls, mode, records, values=None, external=False):
        super().check_modification(
            mode, records, values=values, external=external)
        if not external or mode == 'delete':
            return
        names = sorted(cls._workflow_fields())
        if mode == 'write':
            names = [n for n in names if n in values]
        for name in names:
            default = None
            if mode == 'create':
                default = getattr(cls, f'default_{name}', lambda: None)()
            for record in records:
                value = getattr(record, name)
                if mode == 'create':
                    allowed = not value or value == default
                else:
                    if isinstance(value, Model):
                        value = value.id
                    allowed = (value or None) == (values[name] or None)
                if not allowed:
                    raise WorkflowAccessError(gettext(
                            f'prm.msg_workflow_{mode}',
                            **cls.__names__(name, record)))
