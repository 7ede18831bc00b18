# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import json
from collections import defaultdict
from email.message import EmailMessage

from trytond.i18n import gettext
from trytond.model import ModelSQL, ModelView, Unique, Workflow, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval
from trytond.transaction import Transaction

from ..model import WorkflowAccessMixin
from .exceptions import InteractionImportError
from .message import MALFORMED, MessageError, clean_line, read_mails

_ACTION = 'prm.interaction|import_inbound_email'


class InboundEmail(metaclass=PoolMeta):
    __name__ = 'inbound.email'

    def as_dict(self):
        try:
            return super().as_dict()
        except MALFORMED:
            # Let the rules without condition keep what is malformed
            return {}

    def prm_data(self):
        "Return the bytes of the e-mail"
        data = bytes(self.data)
        key = {
            'mailchimp': 'raw_msg',
            'mailpace': 'raw',
            'sendgrid': 'email',
            }.get(self.data_type)
        if key:
            data = json.loads(data)[key].encode('utf-8', 'surrogateescape')
        elif self.data_type == 'postmark':
            data = self._prm_build(self.as_dict())
        return data

    def _prm_build(self, values):
        "Return the e-mail that has the values"
        message = EmailMessage()
        headers = {
            'From': values.get('from'),
            'Subject': clean_line(values.get('subject')),
            }
        for name in ['To', 'Cc']:
            headers[name] = ', '.join(values.get(name.lower()) or [])
        for name, value in (values.get('headers') or {}).items():
            if name.lower() in {
                    'message-id', 'references', 'in-reply-to', 'date'}:
                headers[name] = clean_line(value)
        for name, value in headers.items():
            if value:
                message[name] = value
        if values.get('text'):
            message.set_content(values['text'])
        elif values.get('html'):
            message.set_content(values['html'], subtype='html')
        for attachment in values.get('attachments') or []:
            maintype, _, subtype = attachment['type'].partition('/')
            message.add_attachment(
                attachment['data'], maintype=maintype,
                subtype=subtype.partition(';')[0],
                filename=attachment['filename'])
        return message.as_bytes()


class InboundEmailRule(metaclass=PoolMeta):
    __name__ = 'inbound.email.rule'

    prm_company = fields.Many2One(
        'company.company', "Company", ondelete='RESTRICT',
        states={
            'invisible': Eval('action') != _ACTION,
            'required': Eval('action') == _ACTION,
            },
        help="The company with which the interactions are.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.action.selection.append((_ACTION, "Import Interaction"))


class Interaction(metaclass=PoolMeta):
    __name__ = 'prm.interaction'

    @classmethod
    def import_inbound_email(cls, email_, rule):
        """Create the interaction of the e-mail or else a mail to sort

        The sender of the latter is unknown or the e-mail is malformed.
        Return what is created, or the interaction that the e-mail already
        is.
        """
        pool = Pool()
        Mail = pool.get('prm.interaction.mail')
        company = rule.prm_company
        with Transaction().set_context(company=company.id):
            data = bytes(email_.data)
            try:
                data = email_.prm_data()
                message, = read_mails(data)
            except (MessageError, *MALFORMED):
                return Mail.sort(company, data)
            interactions, duplicates, ignored = cls.import_messages(
                [message], company)
            if ignored:
                return Mail.sort(company, data, message)
            elif duplicates:
                return cls(
                    cls._by_identifier(
                        company, {message.identifier})[message.identifier])
            return interactions[0]


class InteractionMail(WorkflowAccessMixin, Workflow, ModelSQL, ModelView):
    "An e-mail whose party is still to find"
    __name__ = 'prm.interaction.mail'
    __string__ = "Mail to Sort"

    company = fields.Many2One(
        'company.company', "Company", required=True, readonly=True)
    identifier = fields.Char("Identifier", readonly=True)
    date = fields.DateTime("Date", required=True, readonly=True)
    sender = fields.Char(
        "Sender", readonly=True,
        help="It is empty when the e-mail is malformed.")
    address = fields.Char(
        "Unknown Address", readonly=True,
        help="The e-mail address of the other side.")
    subject = fields.Char("Subject", readonly=True)
    body = fields.Text("Body", readonly=True)
    data = fields.Binary(
        "E-mail", required=True, readonly=True, filename='filename')
    filename = fields.Function(fields.Char("File Name"), 'get_filename')
    party = fields.Many2One(
        'party.party', "Party", ondelete='RESTRICT',
        states={
            'readonly': Eval('state') != 'new',
            'invisible': Eval('state') == 'discarded',
            },
        context={
            'company': Eval('company', -1),
            },
        depends={'company'},
        help="The party to which the unknown address is added.")
    interaction = fields.Many2One(
        'prm.interaction', "Interaction", readonly=True, ondelete='RESTRICT',
        states={
            'invisible': Eval('state') != 'sorted',
            })
    state = fields.Selection([
            ('new', "New"),
            ('sorted', "Sorted"),
            ('discarded', "Discarded"),
            ], "State", required=True, readonly=True, sort=False)

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._order = [('date', 'DESC'), ('id', 'DESC')]
        cls._sql_constraints += [
            ('identifier_unique', Unique(t, t.company, t.identifier),
                'prm.msg_interaction_mail_identifier_unique'),
            ]
        cls._transitions |= {
            ('new', 'sorted'),
            ('new', 'discarded'),
            ('discarded', 'new'),
            }
        cls._buttons.update({
                'import_': {
                    'invisible': Eval('state') != 'new',
                    'readonly': ~Eval('party') | ~Eval('address'),
                    'icon': 'tryton-ok',
                    'depends': ['state', 'party', 'address'],
                    },
                'discard': {
                    'invisible': Eval('state') != 'new',
                    'icon': 'tryton-cancel',
                    'depends': ['state'],
                    },
                'restore': {
                    'invisible': Eval('state') != 'discarded',
                    'icon': 'tryton-undo',
                    'depends': ['state'],
                    },
                })

    @classmethod
    def default_state(cls):
        return 'new'

    @classmethod
    def get_filename(cls, mails, name):
        return {m.id: f'{m.subject or m.id}.eml' for m in mails}

    def get_rec_name(self, name):
        return ' - '.join(
            filter(None, [self.sender, self.subject])) or f'({self.id})'

    @classmethod
    def search_rec_name(cls, name, clause):
        _, operator, operand, *extra = clause
        if operator.startswith('!') or operator.startswith('not '):
            bool_op = 'AND'
        else:
            bool_op = 'OR'
        return [bool_op,
            ('sender', operator, operand, *extra),
            ('subject', operator, operand, *extra),
            ]

    @classmethod
    def _workflow_fields(cls):
        return super()._workflow_fields() | {'interaction'}

    @classmethod
    def sort(cls, company, data, message=None):
        "Return the mail to sort of the e-mail, a new one if there is none"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        values = {
            'company': company.id,
            'date': Interaction.default_date(),
            'data': data,
            }
        if message:
            mails = cls.search([
                    ('company', '=', company.id),
                    ('identifier', '=', message.identifier),
                    ])
            if mails:
                return mails[0]
            own = Interaction._own_addresses(company)
            addresses = [message.sender, *message.recipients]
            values.update({
                    'identifier': message.identifier,
                    'date': message.date or values['date'],
                    'sender': message.sender,
                    'address': next(
                        (a for a in addresses if a not in own), None),
                    'subject': message.subject,
                    'body': message.body,
                    })
        mail, = cls.create([values])
        return mail

    @classmethod
    def copy(cls, mails, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('identifier', None)
        default.setdefault('party', None)
        default.setdefault('interaction', None)
        return super().copy(mails, default=default)

    @classmethod
    @ModelView.button
    @Workflow.transition('sorted')
    def import_(cls, mails):
        pool = Pool()
        ContactMechanism = pool.get('party.contact_mechanism')
        Interaction = pool.get('prm.interaction')
        addresses, companies = {}, defaultdict(dict)
        for mail in mails:
            if not mail.address or not mail.party:
                raise InteractionImportError(gettext(
                        'prm.msg_interaction_mail_party',
                        mail=mail.rec_name))
            addresses.setdefault(mail.address, mail.party.id)
            message, = read_mails(bytes(mail.data))
            companies[mail.company][mail] = message
        contacts = Interaction._contacts(addresses.keys())
        ContactMechanism.create([{
                    'party': party,
                    'type': 'email',
                    'value': address,
                    } for address, party in addresses.items()
                if address not in contacts])
        for company, messages in companies.items():
            Interaction.import_messages(messages.values(), company)
            interactions = Interaction._by_identifier(
                company, {m.identifier for m in messages.values()})
            for mail, message in messages.items():
                mail.interaction = interactions[message.identifier]
        cls.save(mails)

    @classmethod
    @ModelView.button
    @Workflow.transition('discarded')
    def discard(cls, mails):
        pass

    @classmethod
    @ModelView.button
    @Workflow.transition('new')
    def restore(cls, mails):
        pass


class Replace(metaclass=PoolMeta):
    __name__ = 'party.replace'

    @classmethod
    def fields_to_replace(cls):
        return super().fields_to_replace() + [
            ('prm.interaction.mail', 'party'),
            ]


class Erase(metaclass=PoolMeta):
    __name__ = 'party.erase'

    def to_erase(self, party_id):
        pool = Pool()
        Mail = pool.get('prm.interaction.mail')
        return super().to_erase(party_id) + [
            (Mail, [('party', '=', party_id)], True,
                ['sender', 'address', 'subject', 'body', 'data'],
                [None, None, None, None, b'']),
            ]
