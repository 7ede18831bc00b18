# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.model import ModelSQL, fields
from trytond.modules.company.model import CompanyValueMixin
from trytond.pool import Pool, PoolMeta

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
