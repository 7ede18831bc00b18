# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.model import ModelSingleton, ModelSQL, ModelView
from trytond.modules.company.model import (
    CompanyMultiValueMixin, CompanyValueMixin)
from trytond.pool import Pool


class Configuration(
        ModelSingleton, ModelSQL, ModelView, CompanyMultiValueMixin):
    "The settings of each company; every room adds its own."
    __name__ = 'prm.configuration'
    __string__ = "Partner Relationship Configuration"

    @classmethod
    def multivalue_model(cls, field):
        pool = Pool()
        if field.endswith('_sequence'):
            return pool.get('prm.configuration.sequence')
        return super().multivalue_model(field)


class ConfigurationSequence(ModelSQL, CompanyValueMixin):
    __name__ = 'prm.configuration.sequence'
    __string__ = "Partner Relationship Configuration Sequence"
