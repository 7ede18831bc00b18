# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql.functions import Lower

from trytond.i18n import gettext
from trytond.model import ModelView, Unique, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval
from trytond.tools import grouped_slice
from trytond.transaction import Transaction, without_check_access
from trytond.wizard import Button, StateTransition, StateView, Wizard

from ..tools import company_timezone
from .exceptions import InteractionImportError
from .message import MessageError, read_events, read_mails

_SIZE = 10_000  # values of an IN that every database accepts
# The kind of channel of each kind of message
_CHANNELS = {
    'email': 'email',
    'event': 'meeting',
    }


class Interaction(metaclass=PoolMeta):
    __name__ = 'prm.interaction'

    message_identifier = fields.Char(
        "Message Identifier", readonly=True,
        help="The identifier of the e-mail or of the event from which the "
        "interaction was imported.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._sql_constraints += [
            ('message_identifier_unique',
                Unique(t, t.company, t.message_identifier),
                'prm.msg_interaction_message_identifier_unique'),
            ]

    @classmethod
    def copy(cls, interactions, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('message_identifier', None)
        return super().copy(interactions, default=default)

    @classmethod
    def import_messages(cls, messages, company, employee=None, party=None):
        """Create the interactions of the messages with their attachments

        The other side is found by its e-mail address or else is the party.
        Return the interactions, the messages that were already imported and
        those that are not because the other side is unknown or because they
        recur.
        """
        pool = Pool()
        Attachment = pool.get('ir.attachment')
        present = cls._by_identifier(
            company, {m.identifier for m in messages})
        own = cls._own_addresses(company)
        contacts = cls._contacts(
            {a for m in messages for a in [m.sender, *m.recipients] if a}
            - own.keys())
        channels = cls._message_channels()
        to_create, duplicates, ignored = {}, [], []
        for message in messages:
            if (message.identifier in present
                    or message.identifier in to_create
                    or cls._is_own_event(message)):
                duplicates.append(message)
                continue
            values = None
            if not message.recurrent:
                values = cls._message_values(message, own, contacts, party)
            if not values:
                ignored.append(message)
                continue
            values['company'] = company.id
            values['channel'] = channels.get(_CHANNELS[message.kind])
            values.setdefault('employee', employee.id if employee else None)
            to_create[message.identifier] = (message, values)
        interactions = cls.create([v for _, v in to_create.values()])
        imported = dict(zip(to_create, interactions))
        Attachment.create([{
                    'resource': str(imported[message.identifier]),
                    'name': name,
                    'data': data,
                    } for message, _ in to_create.values()
                for name, data in message.attachments])
        cls._thread([m for m, _ in to_create.values()], company)
        return interactions, duplicates, ignored

    @classmethod
    @without_check_access
    def _by_identifier(cls, company, identifiers):
        "Return the id of the interaction of each identifier"
        result = {}
        for sub_identifiers in grouped_slice(sorted(identifiers), _SIZE):
            for interaction in cls.search([
                        ('company', '=', company.id),
                        ('message_identifier', 'in', list(sub_identifiers)),
                        ], order=[]):
                result[interaction.message_identifier] = interaction.id
        return result

    @classmethod
    def _is_own_event(cls, message):
        "Return whether the event comes from a calendar feed"
        return (message.kind == 'event'
            and message.identifier.startswith('prm.interaction-')
            and message.identifier.endswith(
                f'@{Transaction().database.name}'))

    @classmethod
    @without_check_access
    def _own_addresses(cls, company):
        "Return by e-mail address the employee or None for the company"
        pool = Pool()
        ContactMechanism = pool.get('party.contact_mechanism')
        Employee = pool.get('company.employee')
        employees = {
            e.party.id: e.id for e in Employee.search([
                    ('company', '=', company.id),
                    ])}
        return {
            c.value.lower(): employees.get(c.party.id)
            for c in ContactMechanism.search([
                    ('type', '=', 'email'),
                    ('party', 'in', [company.party.id, *employees]),
                    ], order=[])}

    @classmethod
    def _contacts(cls, addresses):
        "Return the contact mechanism of each known e-mail address"
        pool = Pool()
        ContactMechanism = pool.get('party.contact_mechanism')
        table = ContactMechanism.__table__()
        contacts = {}
        for sub_addresses in grouped_slice(sorted(addresses), _SIZE):
            query = table.select(
                table.id,
                where=(table.type == 'email')
                & Lower(table.value).in_(list(sub_addresses)))
            for contact in ContactMechanism.search(
                    [('id', 'in', query)], order=[('id', 'DESC')]):
                contacts[contact.value.lower()] = contact
        return contacts

    @classmethod
    def _message_channels(cls):
        "Return the channel of each kind"
        pool = Pool()
        Channel = pool.get('prm.channel')
        channels = Channel.search([
                ('kind', 'in', list(_CHANNELS.values())),
                ], order=[('id', 'DESC')])
        return {c.kind: c.id for c in channels}

    @classmethod
    def _message_values(cls, message, own, contacts, party):
        "Return the values of the interaction or None without other side"
        now = cls.default_date()
        outgoing = message.sender in own
        others = message.recipients
        if not outgoing:
            others = [message.sender, *others]
        contact = next(
            (contacts[a] for a in others if a in contacts), None)
        if contact:
            party = contact.party
        elif not party:
            return
        date = message.date or now
        planned = message.kind == 'event' and date > now
        values = {
            'party': party.id,
            'contact': contact.id if contact else None,
            'direction': 'out' if outgoing else 'in',
            'date': date if planned else min(date, now),
            'state': 'planned' if planned else 'done',
            'subject': message.subject,
            'body': message.body,
            'duration': message.duration,
            'message_identifier': message.identifier,
            }
        for address in [message.sender, *message.recipients]:
            if own.get(address):
                values['employee'] = own[address]
                break
        return values

    @classmethod
    @without_check_access
    def _thread(cls, messages, company):
        """Follow up the last interaction of the thread of each message

        The thread only goes through what was imported and everybody sees.
        """
        messages = sorted(
            (m for m in messages if m.references),
            key=lambda m: (m.date is None, m.date or 0))
        known = cls._by_identifier(
            company, {m.identifier for m in messages}
            | {r for m in messages for r in m.references})
        followed = cls._followed(known.values())
        visible = {
            i.id for i in cls.browse({*known.values(), *followed.values()})
            if i.message_identifier and not i.private
            and i.population != 'staff'}

        def last(interaction):
            while interaction in followed:
                interaction = followed[interaction]
            return interaction

        actions = []
        for message in messages:
            interaction = known[message.identifier]
            previous = last(next(
                    (known[r] for r in message.references
                        if known.get(r) in visible), None))
            # What refers to each other makes no circle
            if previous in visible and previous != last(interaction):
                followed[previous] = interaction
                actions += [
                    cls.browse([interaction]), {'previous': previous}]
        if actions:
            cls.write(*actions)

    @classmethod
    def _followed(cls, interactions):
        "Return what follows up each interaction of the threads"
        followed = {}
        interactions = set(interactions)
        while interactions:
            nexts = {
                i: n for i, n in cls.get_next(
                    list(interactions), 'next').items() if n}
            interactions = set(nexts.values()) - followed.keys()
            followed.update(nexts)
        return followed


class InteractionImport(Wizard):
    "Import e-mails and events as interactions"
    __name__ = 'prm.interaction.import'
    start = StateView(
        'prm.interaction.import.start',
        'prm.interaction_import_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Import", 'import_', 'tryton-ok', default=True),
            ])
    import_ = StateTransition()
    result = StateView(
        'prm.interaction.import.result',
        'prm.interaction_import_result_view_form', [
            Button("Close", 'end', 'tryton-close', default=True),
            ])

    def transition_import_(self):
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        data = bytes(self.start.file).removeprefix(b'\xef\xbb\xbf')
        try:
            if data[:50].lstrip().upper().startswith(b'BEGIN:VCALENDAR'):
                messages = read_events(
                    data, company_timezone(self.start.company))
            else:
                messages = read_mails(data)
        except MessageError as exception:
            raise InteractionImportError(gettext(
                    'prm.msg_interaction_import_invalid',
                    file=self.start.filename or '',
                    number=exception.number)) from exception
        interactions, duplicates, ignored = Interaction.import_messages(
            messages, self.start.company, employee=self.start.employee,
            party=self.start.party)
        self.result.interactions = len(interactions)
        self.result.duplicates = len(duplicates)
        self.result.ignored = '\n'.join(m.title for m in ignored) or None
        return 'result'

    def default_result(self, fields):
        return {
            n: getattr(self.result, n)
            for n in ['interactions', 'duplicates', 'ignored']}


class InteractionImportStart(ModelView):
    __name__ = 'prm.interaction.import.start'
    __string__ = "Import Interactions"

    company = fields.Many2One('company.company', "Company", required=True)
    employee = fields.Many2One(
        'company.employee', "Employee",
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        help="The employee of the messages without address of an employee.")
    party = fields.Many2One(
        'party.party', "Party",
        context={
            'company': Eval('company', -1),
            },
        depends={'company'},
        help="The party of the messages without known address.\n"
        "Leave empty not to import them.")
    file = fields.Binary(
        "File", required=True, filename='filename',
        help="An e-mail (eml), a mailbox (mbox) or a calendar (ics).")
    filename = fields.Char("File Name")

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_employee(cls):
        return Transaction().context.get('employee')


class InteractionImportResult(ModelView):
    __name__ = 'prm.interaction.import.result'
    __string__ = "Import Interactions"

    interactions = fields.Integer("Imported", readonly=True)
    duplicates = fields.Integer(
        "Duplicates", readonly=True,
        help="The messages that were already imported.")
    ignored = fields.Text(
        "Not Imported", readonly=True,
        help="The messages without known address and the recurring events.")
