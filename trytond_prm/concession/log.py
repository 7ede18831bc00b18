# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt

from trytond.model import ModelSQL, ModelView, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval
from trytond.transaction import Transaction

from ..model import ReadonlyMixin


class ConcessionLog(ReadonlyMixin, ModelSQL, ModelView):
    "Who has done what with a gesture, when and why"
    __name__ = 'prm.concession.log'
    __string__ = "Step of Commercial Gesture"

    concession = fields.Many2One(
        'prm.concession', "Gesture", required=True, readonly=True,
        ondelete='CASCADE')
    date = fields.DateTime("Date", required=True, readonly=True)
    user = fields.Many2One(
        'res.user', "User", readonly=True, ondelete='RESTRICT')
    employee = fields.Many2One(
        'company.employee', "Employee", readonly=True, ondelete='RESTRICT')
    state = fields.Selection(
        'get_states', "State", required=True, readonly=True, sort=False)
    note = fields.Text("Note", readonly=True)

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('concession')
        cls._order = [
            ('date', 'DESC'),
            ('id', 'DESC'),
            ]

    @classmethod
    def get_states(cls):
        pool = Pool()
        Concession = pool.get('prm.concession')
        return Concession.fields_get(['state'])['state']['selection']

    def get_rec_name(self, name):
        return self.concession.rec_name

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('concession.rec_name', *clause[1:])]


class Concession(metaclass=PoolMeta):
    __name__ = 'prm.concession'

    note = fields.Text(
        "Note",
        states={
            'readonly': Eval('state').in_(['rejected', 'cancelled']),
            },
        help="Why the next step is taken.\n"
        "It is kept in the log with the step.")
    logs = fields.One2Many(
        'prm.concession.log', 'concession', "Log", readonly=True)

    @classmethod
    def copy(cls, concessions, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('note', None)
        default.setdefault('logs', None)
        return super().copy(concessions, default=default)

    @classmethod
    def on_modification(cls, mode, concessions, field_names=None):
        super().on_modification(mode, concessions, field_names=field_names)
        if mode == 'write' and 'state' in field_names:
            cls._log_state(concessions)

    @classmethod
    def _log_state(cls, concessions):
        "Add the new state of the gestures to their logs"
        pool = Pool()
        Log = pool.get('prm.concession.log')
        User = pool.get('res.user')
        transaction = Transaction()
        user = User(transaction.user) if transaction.user else None
        employee = user.employee if user else None
        now = dt.datetime.now().replace(microsecond=0)
        note = transaction.context.get('_concession_note')
        concessions = cls.browse(concessions)
        Log.create([{
                    'concession': concession.id,
                    'date': now,
                    'user': transaction.user or None,
                    'employee': (
                        employee.id if employee
                        and employee.company == concession.company else None),
                    'state': concession.state,
                    'note': '\n'.join(
                        filter(None, [note, concession.note])) or None,
                    } for concession in concessions])
        if noted := [c for c in concessions if c.note]:
            cls.write(noted, {'note': None})
