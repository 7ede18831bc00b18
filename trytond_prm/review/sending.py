# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import defaultdict

from trytond.i18n import gettext
from trytond.model import ModelSQL, ModelView, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Bool, Eval
from trytond.transaction import Transaction

from .exceptions import ReviewRecipientError
from .review import half_year


class Review(metaclass=PoolMeta):
    __name__ = 'prm.review'

    recipients = fields.Many2Many(
        'prm.review-party.party', 'review', 'party', "Recipients",
        context={
            'company': Eval('company', -1),
            },
        depends={'company'},
        help="Who receives the closed review by e-mail.")
    sent_at = fields.Timestamp(
        "Sent at", readonly=True,
        states={
            'invisible': ~Eval('sent_at'),
            })

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._buttons.update({
                'send': {
                    'invisible': Eval('state') != 'closed',
                    'readonly': ~Bool(Eval('recipients', [])),
                    'icon': 'tryton-email',
                    'depends': ['state', 'recipients'],
                    },
                })

    @classmethod
    def _workflow_fields(cls):
        return super()._workflow_fields() | {'sent_at'}

    @classmethod
    def _get_unfrozen(cls):
        return super()._get_unfrozen() | {'recipients', 'sent_at'}

    @classmethod
    def copy(cls, reviews, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('sent_at', None)
        return super().copy(reviews, default=default)

    @classmethod
    @ModelView.button
    def send(cls, reviews):
        """Send the printed review to its recipients, in their language

        The recipients of a language receive one e-mail, which is kept with
        the review. The tension of the staff is not for them.
        """
        pool = Pool()
        Email = pool.get('ir.email')
        Lang = pool.get('ir.lang')
        ModelData = pool.get('ir.model.data')
        Template = pool.get('ir.email.template')
        template_id = ModelData.get_id('prm', 'email_template_review')
        default = Lang.get().code
        for review in reviews:
            recipients = defaultdict(list)
            for party in review.recipients:
                if not party.email:
                    raise ReviewRecipientError(gettext(
                            'prm.msg_review_recipient_email',
                            review=review.rec_name, party=party.rec_name))
                recipients[party.lang.code if party.lang else default].append(
                    party)
            for language, parties in recipients.items():
                with Transaction().set_context(
                        language=language, without_staff=True):
                    values = Template(template_id).get(cls(review.id))
                    values['to'] = ', '.join(Template.get_addresses(parties))
                    Email.send(record=(cls.__name__, review.id), **values)
        cls.write(reviews, {'sent_at': dt.datetime.now()})

    @classmethod
    def create_half_year(cls):
        """Create the draft of the last half-year when there is none

        The review is for the company of the context, or for each one without
        company in the context. It has the recipients of the review before.
        """
        pool = Pool()
        Company = pool.get('company.company')
        Date = pool.get('ir.date')
        company_id = Transaction().context.get('company')
        if company_id is None:
            companies = Company.search([])
        else:
            companies = [Company(company_id)]
        # Two at the same time must not create it twice
        Company.lock(companies)
        to_save = []
        for company in companies:
            language = company.party.lang.code if company.party.lang else None
            with Transaction().set_context(company=company.id):
                start_date, end_date = half_year(Date.today(), -1)
            if cls.search([
                        ('company', '=', company.id),
                        ('start_date', '>=', start_date),
                        ('start_date', '<=', end_date),
                        ], limit=1):
                continue
            name = gettext(
                'prm.msg_review_half_year', language,
                year=start_date.year, half=1 if start_date.month == 1 else 2)
            review = cls(
                company=company, name=name,
                start_date=start_date, end_date=end_date)
            last = cls.search([
                    ('company', '=', company.id),
                    ('end_date', '<', start_date),
                    ], order=[('end_date', 'DESC'), ('id', 'DESC')], limit=1)
            if last:
                review.recipients = last[0].recipients
            to_save.append(review)
        cls.save(to_save)
        return to_save


class ReviewRecipient(ModelSQL):
    __name__ = 'prm.review-party.party'
    __string__ = "Recipient of Review"

    review = fields.Many2One(
        'prm.review', "Review", required=True, ondelete='CASCADE')
    party = fields.Many2One(
        'party.party', "Party", required=True, ondelete='CASCADE')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('review')


class Cron(metaclass=PoolMeta):
    __name__ = 'ir.cron'

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.method.selection.append((
                'prm.review|create_half_year',
                "Create the Review of the Half-year"))
