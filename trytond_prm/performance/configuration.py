# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.cache import Cache
from trytond.model import ModelSQL, fields
from trytond.modules.company.model import CompanyValueMixin
from trytond.pool import Pool, PoolMeta
from trytond.transaction import without_check_access

ATTRIBUTIONS = [
    ('manager', "Manager of the Partner"),
    ('sale', "Employee of the Sale"),
    ]


class Configuration(metaclass=PoolMeta):
    __name__ = 'prm.configuration'

    performance_attribution = fields.MultiValue(fields.Selection(
            ATTRIBUTIONS, "Revenue Attribution", required=True, sort=False,
            help="Which employee gets the revenue of an invoice: the manager "
            "of the partner at the invoice date, or who quoted, or else "
            "confirmed, its sale.\n"
            "Without sale it is the manager in both cases."))
    concession_minimum = fields.MultiValue(fields.Integer(
            "Minimum Sample of Gestures", required=True,
            domain=[
                ('concession_minimum', '>', 0),
                ],
            help="There is no verdict on what gestures kept with fewer "
            "customers with or without a gesture."))

    @classmethod
    def multivalue_model(cls, field):
        pool = Pool()
        if field in {'performance_attribution', 'concession_minimum'}:
            return pool.get('prm.configuration.performance')
        return super().multivalue_model(field)

    @classmethod
    def default_performance_attribution(cls, **pattern):
        return cls.multivalue_model(
            'performance_attribution').default_performance_attribution()

    @classmethod
    def default_concession_minimum(cls, **pattern):
        return cls.multivalue_model(
            'concession_minimum').default_concession_minimum()


class ConfigurationPerformance(ModelSQL, CompanyValueMixin):
    __name__ = 'prm.configuration.performance'
    __string__ = "Performance Configuration"

    _sale_companies_cache = Cache(
        'prm.configuration.performance.sale_companies', context=False)

    performance_attribution = fields.Selection(
        ATTRIBUTIONS, "Revenue Attribution", required=True, sort=False)
    concession_minimum = fields.Integer(
        "Minimum Sample of Gestures", required=True,
        domain=[
            ('concession_minimum', '>', 0),
            ])

    @classmethod
    def default_concession_minimum(cls):
        return 20

    @classmethod
    def default_performance_attribution(cls):
        return 'manager'

    @classmethod
    def get_sale_companies(cls):
        "Return the identifiers of the companies that follow the sales"
        companies = cls._sale_companies_cache.get(None)
        if companies is None:
            with without_check_access():
                companies = [
                    c.company.id for c in cls.search([
                            ('performance_attribution', '=', 'sale'),
                            ('company', '!=', None),
                            ])]
            cls._sale_companies_cache.set(None, companies)
        return companies

    @classmethod
    def on_modification(cls, mode, configurations, field_names=None):
        super().on_modification(mode, configurations, field_names=field_names)
        cls._sale_companies_cache.clear()
