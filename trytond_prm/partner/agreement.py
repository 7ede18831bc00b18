# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt

from sql.functions import Function
from sql.operators import Concat

from trytond import backend
from trytond.i18n import gettext
from trytond.model import (
    DeactivableMixin, Index, ModelSQL, ModelView, Workflow, fields)
from trytond.pool import Pool
from trytond.pyson import Bool, Eval, If
from trytond.transaction import Transaction

from ..tools import Inline
from .exceptions import AgreementDeleteError, AgreementStateError


class _Date(Function):
    __slots__ = ()
    _function = 'DATE'


class AgreementType(DeactivableMixin, ModelSQL, ModelView):
    __name__ = 'prm.agreement.type'
    __string__ = "Agreement Type"

    name = fields.Char("Name", required=True, translate=True)
    notice_days = fields.Integer(
        "Notice Days",
        domain=['OR',
            ('notice_days', '=', None),
            ('notice_days', '>=', 0),
            ],
        help="The default notice of the agreements of the type.")
    terms = fields.Text(
        "Terms", translate=True,
        help="The default terms of the agreements of the type.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order.insert(0, ('name', 'ASC'))


class Agreement(Workflow, ModelSQL, ModelView):
    __name__ = 'prm.agreement'
    __string__ = "Agreement"

    _states = {
        'readonly': Eval('state') != 'draft',
        }

    partner = fields.Many2One(
        'prm.partner', "Partner", required=True, ondelete='CASCADE',
        states=_states)
    type = fields.Many2One(
        'prm.agreement.type', "Type", required=True, ondelete='RESTRICT',
        states=_states)
    signature_date = fields.Date(
        "Signature Date",
        states={
            'readonly': _states['readonly'],
            'required': Eval('state') != 'draft',
            })
    start_date = fields.Date(
        "Start Date",
        states={
            'readonly': _states['readonly'],
            'required': Eval('state') != 'draft',
            },
        help="The first day of the agreement.")
    end_date = fields.Date(
        "End Date",
        domain=[
            If(Bool(Eval('end_date')) & Bool(Eval('start_date')),
                ('end_date', '>=', Eval('start_date')),
                ()),
            ],
        states=_states,
        help="The last day of the agreement.\n"
        "Leave empty for an agreement without end.")
    notice_days = fields.Integer(
        "Notice Days", required=True,
        domain=[
            ('notice_days', '>=', 0),
            ],
        states=_states,
        help="How many days before the end it must be decided whether to "
        "go on.")
    notice_date = fields.Function(fields.Date(
            "Notice Date",
            help="The day on which the notice starts."),
        'on_change_with_notice_date', searcher='search_notice_date')
    noticed = fields.Date(
        "Noticed", readonly=True,
        states={
            'invisible': ~Eval('noticed'),
            },
        help="When the manager of the partner was notified of the notice "
        "date.")
    terms = fields.Text("Terms", states=_states)
    state = fields.Selection([
            ('draft', "Draft"),
            ('signed', "Signed"),
            ('lapsed', "Lapsed"),
            ('terminated', "Terminated"),
            ], "State", readonly=True, required=True, sort=False)

    del _states

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('partner')
        t = cls.__table__()
        cls._order = [
            ('partner', 'ASC'),
            ('start_date', 'DESC NULLS FIRST'),
            ('id', 'DESC'),
            ]
        cls._sql_indexes.update({
                Index(t,
                    (t.partner, Index.Range()),
                    (t.start_date, Index.Range(order='DESC NULLS FIRST'))),
                Index(t,
                    (t.end_date, Index.Range()),
                    where=t.state == Inline('signed')),
                })
        cls._transitions |= {
            ('draft', 'signed'),
            ('signed', 'lapsed'),
            ('signed', 'terminated'),
            }
        cls._buttons.update({
                'sign': {
                    'invisible': Eval('state') != 'draft',
                    'icon': 'tryton-ok',
                    'depends': ['state'],
                    },
                'terminate': {
                    'invisible': Eval('state') != 'signed',
                    'icon': 'tryton-close',
                    'depends': ['state'],
                    },
                })

    @classmethod
    def default_notice_days(cls):
        return 0

    @classmethod
    def default_state(cls):
        return 'draft'

    @fields.depends('type', 'terms', 'notice_days')
    def on_change_type(self):
        if self.type:
            if not self.terms:
                self.terms = self.type.terms
            if not self.notice_days:
                self.notice_days = self.type.notice_days or 0

    @fields.depends('end_date', 'notice_days')
    def on_change_with_notice_date(self, name=None):
        if self.end_date:
            return self.end_date - dt.timedelta(days=self.notice_days or 0)

    @classmethod
    def search_notice_date(cls, name, clause):
        _, operator, value = clause
        table = cls.__table__()
        if value is None:
            return [('end_date', operator, None)]
        if backend.name == 'sqlite':
            date = _Date(
                table.end_date,
                Concat(Concat('-', table.notice_days), ' days'))
        else:
            date = table.end_date - table.notice_days
        Operator = fields.SQL_OPERATORS[operator]
        return [('id', 'in', table.select(
                    table.id,
                    where=Operator(
                        date,
                        cls.end_date._domain_value(operator, value))))]

    def get_rec_name(self, name):
        return f'{self.type.rec_name} - {self.partner.rec_name}'

    @classmethod
    def search_rec_name(cls, name, clause):
        _, operator, operand, *extra = clause
        if operator.startswith('!') or operator.startswith('not '):
            bool_op = 'AND'
        else:
            bool_op = 'OR'
        return [bool_op,
            ('type.rec_name', operator, operand, *extra),
            ('partner.rec_name', operator, operand, *extra),
            ]

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree', 'visual',
                If(Eval('state').in_(['lapsed', 'terminated']), 'muted', '')),
            ]

    @classmethod
    def check_modification(
            cls, mode, agreements, values=None, external=False):
        super().check_modification(
            mode, agreements, values=values, external=external)
        if mode == 'delete':
            for agreement in agreements:
                if agreement.state != 'draft':
                    raise AgreementDeleteError(gettext(
                            'prm.msg_agreement_delete_draft',
                            agreement=agreement.rec_name))

    @classmethod
    def copy(cls, agreements, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('signature_date', None)
        default.setdefault('noticed', None)
        return super().copy(agreements, default=default)

    @classmethod
    @ModelView.button
    @Workflow.transition('signed')
    def sign(cls, agreements):
        for agreement in agreements:
            if not agreement.signature_date or not agreement.start_date:
                raise AgreementStateError(gettext(
                        'prm.msg_agreement_sign_required',
                        agreement=agreement.rec_name))

    @classmethod
    @ModelView.button
    @Workflow.transition('terminated')
    def terminate(cls, agreements):
        "End the agreements today unless they end before"
        pool = Pool()
        Date = pool.get('ir.date')
        today = Date.today()
        for agreement in agreements:
            if agreement.start_date > today:
                raise AgreementStateError(gettext(
                        'prm.msg_agreement_terminate_future',
                        agreement=agreement.rec_name))
        to_end = [
            a for a in agreements if not a.end_date or a.end_date > today]
        if to_end:
            cls.write(to_end, {'end_date': today})

    @classmethod
    @Workflow.transition('lapsed')
    def lapse(cls, agreements):
        pass

    @classmethod
    def follow_up(cls):
        """Lapse what is over and notify of what enters its notice

        The managers of the partners are notified once. The day is the one
        of the company of the context.
        """
        pool = Pool()
        Date = pool.get('ir.date')
        User = pool.get('res.user')
        today = Date.today()
        domain = [('state', '=', 'signed')]
        company = Transaction().context.get('company')
        if company is not None:
            domain.append(('partner.company', '=', company))
        cls.lapse(cls.search(domain + [('end_date', '<', today)]))
        agreements = cls.search(domain + [
                ('notice_date', '<=', today),
                ('noticed', '=', None),
                ])
        managers = {
            a.partner.manager.id for a in agreements if a.partner.manager}
        users = User.search([
                ('employees', 'in', list(managers)),
                ])
        for user in users:
            employees = set(user.employees)
            records = [
                a for a in agreements if a.partner.manager in employees]
            cls.notify_user(
                records, 'tryton-warning',
                gettext('prm.msg_agreement_notice'),
                '; '.join(a.rec_name for a in records),
                user=user)
        if agreements:
            cls.write(agreements, {'noticed': today})
