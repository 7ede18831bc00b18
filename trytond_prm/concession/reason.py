# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.model import DeactivableMixin, ModelSQL, ModelView, fields


class Reason(DeactivableMixin, ModelSQL, ModelView):
    __name__ = 'prm.concession.reason'
    __string__ = "Reason of Commercial Gesture"

    name = fields.Char("Name", required=True, translate=True)
    separation = fields.Boolean(
        "Separation",
        help="Check if the gestures with this reason repair "
        "the departure of an associate or an employee.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order.insert(0, ('name', 'ASC'))
