# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import defaultdict

from dateutil.relativedelta import relativedelta
from sql.conditionals import Coalesce
from sql.functions import Function
from sql.operators import Concat

from trytond import backend
from trytond.i18n import gettext
from trytond.model import (
    DeactivableMixin, Index, ModelSQL, ModelView, Workflow, fields,
    sequence_ordered)
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
    warning_days = fields.Integer(
        "Warning Days",
        domain=['OR',
            ('warning_days', '=', None),
            ('warning_days', '>=', 0),
            ],
        help="The default warning of the agreements of the type.")
    renewal_months = fields.Integer(
        "Renewal",
        domain=['OR',
            ('renewal_months', '=', None),
            ('renewal_months', '>', 0),
            ],
        help="The default renewal of the agreements of the type.")
    terms = fields.Text(
        "Terms", translate=True,
        help="The default terms of the agreements of the type.")
    checklist = fields.One2Many(
        'prm.agreement.type.term', 'type', "Checklist",
        help="What must be agreed on in the agreements of the type.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order.insert(0, ('name', 'ASC'))


class AgreementTypeTerm(sequence_ordered(), ModelSQL, ModelView):
    __name__ = 'prm.agreement.type.term'
    __string__ = "Term of Agreement Type"

    type = fields.Many2One(
        'prm.agreement.type', "Type", required=True, ondelete='CASCADE')
    name = fields.Char("Name", required=True, translate=True)
    required = fields.Boolean(
        "Required",
        help="Check to prevent the signature as long as it is not agreed on.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('type')

    @classmethod
    def default_required(cls):
        return True


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
            help="The last day on which notice can be given."),
        'on_change_with_notice_date', searcher='search_date')
    warning_date = fields.Function(fields.Date(
            "Warning Date",
            help="The day on which the manager of the partner is notified."),
        'on_change_with_warning_date', searcher='search_date')
    noticed = fields.Date(
        "Noticed", readonly=True,
        states={
            'invisible': ~Eval('noticed'),
            },
        help="When the manager of the partner was notified of the notice "
        "date.")
    warning_days = fields.Integer(
        "Warning Days", required=True,
        domain=[
            ('warning_days', '>=', 0),
            ],
        states=_states,
        help="How many days before the notice date the manager of the partner "
        "is notified.")
    renewal_months = fields.Integer(
        "Renewal",
        domain=['OR',
            ('renewal_months', '=', None),
            ('renewal_months', '>', 0),
            ],
        states={
            'readonly': _states['readonly'],
            'invisible': ~Eval('end_date'),
            },
        help="For how many months the agreement is tacitly renewed unless "
        "notice is given.\n"
        "Leave empty for an agreement that lapses at its end.")
    notice_given = fields.Date(
        "Notice Given", readonly=True,
        states={
            'invisible': ~Eval('notice_given'),
            },
        help="When it was decided not to renew the agreement.")
    renewals = fields.One2Many(
        'prm.agreement.renewal', 'agreement', "Renewals", readonly=True,
        states={
            'invisible': ~Eval('renewals'),
            },
        help="How the agreement went on.")
    terms = fields.Text("Terms", states=_states)
    checklist = fields.One2Many(
        'prm.agreement.term', 'agreement', "Checklist", states=_states,
        help="What must be agreed on before the signature.")
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
                'give_notice': {
                    'invisible': ((Eval('state') != 'signed')
                        | ~Eval('renewal_months')
                        | ~Eval('end_date')
                        | Eval('notice_given')),
                    'icon': 'tryton-cancel',
                    'depends': [
                        'state', 'renewal_months', 'end_date',
                        'notice_given'],
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
    def default_warning_days(cls):
        return 0

    @classmethod
    def default_state(cls):
        return 'draft'

    @fields.depends(
        'type', 'terms', 'notice_days', 'warning_days', 'renewal_months',
        'checklist')
    def on_change_type(self):
        pool = Pool()
        Term = pool.get('prm.agreement.term')
        if self.type:
            if not self.terms:
                self.terms = self.type.terms
            if not self.notice_days:
                self.notice_days = self.type.notice_days or 0
            if not self.warning_days:
                self.warning_days = self.type.warning_days or 0
            if not self.renewal_months:
                self.renewal_months = self.type.renewal_months
            if not self.checklist:
                self.checklist = [
                    Term(
                        sequence=t.sequence, name=t.name,
                        required=t.required, agreed=False)
                    for t in self.type.checklist]

    @fields.depends('end_date', 'notice_days')
    def on_change_with_notice_date(self, name=None):
        if self.end_date:
            return self.end_date - dt.timedelta(days=self.notice_days or 0)

    @fields.depends(
        'warning_days', methods=['on_change_with_notice_date'])
    def on_change_with_warning_date(self, name=None):
        if notice_date := self.on_change_with_notice_date():
            return notice_date - dt.timedelta(days=self.warning_days or 0)

    @classmethod
    def search_date(cls, name, clause):
        "Search the notice or the warning date"
        _, operator, value = clause
        table = cls.__table__()
        if value is None:
            return [('end_date', operator, None)]
        days = table.notice_days
        if name == 'warning_date':
            days += Coalesce(table.warning_days, 0)
        if backend.name == 'sqlite':
            date = _Date(
                table.end_date, Concat(Concat('-', days), ' days'))
        else:
            date = table.end_date - days
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
        default.setdefault('notice_given', None)
        default.setdefault('renewals', None)
        default.setdefault('checklist.agreed', False)
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
            for term in agreement.checklist:
                if term.required and not term.agreed:
                    raise AgreementStateError(gettext(
                            'prm.msg_agreement_term_open',
                            agreement=agreement.rec_name,
                            term=term.name))

    @classmethod
    @ModelView.button
    def give_notice(cls, agreements):
        "Let the agreements lapse at their end instead of renewing them"
        pool = Pool()
        Date = pool.get('ir.date')
        Lang = pool.get('ir.lang')
        today = Date.today()
        for agreement in agreements:
            if agreement.notice_date and agreement.notice_date < today:
                raise AgreementStateError(gettext(
                        'prm.msg_agreement_notice_late',
                        agreement=agreement.rec_name,
                        date=Lang.get().strftime(agreement.notice_date)))
        cls.write(agreements, {'notice_given': today})

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
    def renew(cls, agreements, date):
        """Renew the agreements tacitly such that they last at the date

        Each term starts on the day after the first end, or some renewals
        later, such that the ends of months stay.
        """
        pool = Pool()
        Renewal = pool.get('prm.agreement.renewal')
        cls.lock(agreements)
        day = relativedelta(days=1)
        to_create, to_write = [], defaultdict(list)
        for agreement in agreements:
            anchor = min(
                [r.from_date for r in agreement.renewals]
                + [agreement.end_date])
            end_date, months = agreement.end_date, 0
            while end_date < date:
                from_date = end_date
                while end_date <= from_date:
                    months += agreement.renewal_months
                    end_date = (
                        anchor + day + relativedelta(months=months) - day)
                to_create.append({
                        'agreement': agreement.id,
                        'from_date': from_date,
                        'to_date': end_date,
                        })
            to_write[end_date].append(agreement)
        if to_create:
            Renewal.create(to_create)
            cls.write(*sum((
                        (records, {'end_date': end_date, 'noticed': None})
                        for end_date, records in to_write.items()), ()))

    @classmethod
    def follow_up(cls):
        """Renew or lapse what is over and warn of what enters its notice

        The managers of the partners are notified once of each term. The day
        is the one of the company of the context.
        """
        pool = Pool()
        Date = pool.get('ir.date')
        today = Date.today()
        domain = [('state', '=', 'signed')]
        company = Transaction().context.get('company')
        if company is not None:
            domain.append(('partner.company', '=', company))
        over = cls.search(domain + [('end_date', '<', today)])
        renewed = [
            a for a in over if a.renewal_months and not a.notice_given]
        cls.lapse([a for a in over if a not in set(renewed)])
        cls.renew(renewed, today)
        cls._notify(renewed, gettext('prm.msg_agreement_renewed'))
        agreements = cls.search(domain + [
                ('warning_date', '<=', today),
                ('noticed', '=', None),
                ('notice_given', '=', None),
                ])
        cls._notify(agreements, gettext('prm.msg_agreement_notice'))
        if agreements:
            cls.write(agreements, {'noticed': today})

    @classmethod
    def _notify(cls, agreements, message):
        "Send the message to the users who act as the managers"
        pool = Pool()
        User = pool.get('res.user')
        managers = {
            a.partner.manager.id for a in agreements if a.partner.manager}
        if not managers:
            return
        for user in User.search([('employees', 'in', list(managers))]):
            employees = set(user.employees)
            records = [
                a for a in agreements if a.partner.manager in employees]
            cls.notify_user(
                records, 'tryton-warning', message,
                '; '.join(a.rec_name for a in records), user=user)


class AgreementTerm(sequence_ordered(), ModelSQL, ModelView):
    __name__ = 'prm.agreement.term'
    __string__ = "Term of Agreement"

    _states = {
        'readonly': Eval('agreement_state') != 'draft',
        }

    agreement = fields.Many2One(
        'prm.agreement', "Agreement", required=True, ondelete='CASCADE',
        states=_states)
    agreement_state = fields.Function(
        fields.Selection('get_agreement_states', "Agreement State"),
        'on_change_with_agreement_state')
    name = fields.Char("Name", required=True, states=_states)
    required = fields.Boolean("Required", states=_states)
    agreed = fields.Boolean(
        "Agreed", states=_states,
        help="Check when both sides agree on it.")

    del _states

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('agreement')

    @classmethod
    def default_required(cls):
        return False

    @classmethod
    def default_agreed(cls):
        return False

    @classmethod
    def get_agreement_states(cls):
        Agreement = cls.agreement.get_target()
        return Agreement.fields_get(['state'])['state']['selection']

    @fields.depends('agreement', '_parent_agreement.state')
    def on_change_with_agreement_state(self, name=None):
        return self.agreement.state if self.agreement else None


class AgreementRenewal(ModelSQL, ModelView):
    __name__ = 'prm.agreement.renewal'
    __string__ = "Renewal of Agreement"

    agreement = fields.Many2One(
        'prm.agreement', "Agreement", required=True, readonly=True,
        ondelete='CASCADE')
    from_date = fields.Date(
        "From", required=True, readonly=True,
        help="The end before the renewal.")
    to_date = fields.Date(
        "To", required=True, readonly=True,
        help="The end after the renewal.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('agreement')
        cls._order.insert(0, ('to_date', 'DESC'))
