# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import defaultdict
from email.message import EmailMessage

import trytond.config as config
from trytond.i18n import gettext
from trytond.model import fields
from trytond.pool import Pool, PoolMeta
from trytond.sendmail import send_message_transactional
from trytond.tools.email_ import format_address, set_from_header
from trytond.transaction import Transaction


class Buyback(metaclass=PoolMeta):
    __name__ = 'prm.buyback'

    @classmethod
    def remind_due(cls):
        """Remind the users of the instalments that will be due

        Each due date is reminded once, from the number of days of the
        configuration on.
        """
        cls._send_dues(
            'reminded_for', 'buyback_remind_days',
            lambda due, today, days: (
                today <= due <= today + dt.timedelta(days=days)))

    @classmethod
    def alert_overdue(cls):
        """Alert the users of the instalments that are overdue

        Each due date is alerted once, from the number of days of the
        configuration on.
        """
        cls._send_dues(
            'alerted_for', 'buyback_alert_days',
            lambda due, today, days: (
                due < today and due + dt.timedelta(days=days) <= today))

    @classmethod
    def _send_dues(cls, name, setting, select):
        pool = Pool()
        Configuration = pool.get('prm.configuration')
        Instalment = pool.get('prm.buyback.instalment')
        configuration = Configuration(1)
        domain = [('state', '=', 'running')]
        company = Transaction().context.get('company')
        if company is not None:
            domain.append(('company', '=', company))
        buybacks = cls.search(domain)
        ledgers = Instalment.get_ledgers(buybacks)
        limits = {
            c: (
                cls._today(c),
                configuration.get_multivalue(setting, company=c.id) or 0)
            for c in {b.company for b in buybacks}}
        dues, amounts = defaultdict(list), {}
        for buyback in buybacks:
            for instalment in buyback.instalments:
                ledger = ledgers.get(instalment.id)
                if not ledger or ledger.is_settled(instalment):
                    continue
                due_date = ledger.due_date or instalment.due_date
                amount = ledger.get_remaining(instalment) - ledger.processing
                if (amount > 0
                        and select(due_date, *limits[buyback.company])
                        and getattr(instalment, name) != due_date):
                    dues[due_date].append(instalment)
                    amounts[instalment] = amount
        if not dues:
            return
        # Two tasks at once mark the same instalments: only one commits
        with Transaction().set_context(_buyback_amendment=True):
            Instalment.write(*(
                    a for d, i in dues.items() for a in (i, {name: d})))
        companies = defaultdict(list)
        for due_date in sorted(dues):
            for instalment in dues[due_date]:
                companies[instalment.buyback.company].append(
                    (instalment, due_date, amounts[instalment]))
        message_id = {
            'reminded_for': 'prm.msg_buyback_remind',
            'alerted_for': 'prm.msg_buyback_alert',
            }[name]
        for company, rows in companies.items():
            cls._notify_users(
                company, message_id, [i for i, _, _ in rows],
                lambda language, lang: [
                    gettext('prm.msg_buyback_due', language,
                        instalment=i.rec_name,
                        amount=lang.currency(a, i.currency),
                        date=lang.strftime(d))
                    for i, d, a in rows])

    @classmethod
    def _notify_errors(cls, errors):
        super()._notify_errors(errors)
        companies = defaultdict(list)
        for buyback, error in errors.items():
            companies[buyback.company].append((buyback, error))
        for company, rows in companies.items():
            cls._notify_users(
                company, 'prm.msg_buyback_interest_error',
                [b for b, _ in rows],
                lambda language, lang: [e.message for _, e in rows])

    @classmethod
    def _notify_users(cls, company, message_id, records, get_lines):
        """Notify the users of the associates by notification and e-mail

        The lines are the ones of the language.
        """
        pool = Pool()
        Lang = pool.get('ir.lang')
        ModelData = pool.get('ir.model.data')
        User = pool.get('res.user')
        Model = records[0].__class__
        for user in User.search([
                    ('groups', '=', ModelData.get_id(
                            'prm', 'group_associate')),
                    ('companies', '=', company.id),
                    ]):
            language = user.language.code if user.language else None
            title = gettext(message_id, language)
            lines = get_lines(language, Lang.get(language))
            Model.notify_user(
                records, 'tryton-notification', title, '; '.join(lines),
                user=user)
            if user.email:
                message = EmailMessage()
                from_ = config.get('email', 'from')
                set_from_header(message, from_, from_)
                message['To'] = format_address(user.email, user.name)
                message['Subject'] = title
                message.set_content('\n'.join(lines))
                send_message_transactional(message)


class Instalment(metaclass=PoolMeta):
    __name__ = 'prm.buyback.instalment'

    reminded_for = fields.Date(
        "Reminded for", readonly=True,
        help="The due date that was reminded.")
    alerted_for = fields.Date(
        "Alerted for", readonly=True,
        help="The due date that was alerted to be over.")

    @classmethod
    def copy(cls, instalments, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('reminded_for')
        default.setdefault('alerted_for')
        return super().copy(instalments, default=default)
