# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.exceptions import UserError, UserWarning
from trytond.model.exceptions import AccessError, ValidationError


class ConcessionValidationError(ValidationError):
    pass


class ConcessionGrantError(UserError):
    pass


class ConcessionProductMissingError(ConcessionGrantError):
    pass


class ConcessionCancelError(UserError):
    pass


class ConcessionLetterError(UserError):
    pass


class InvoiceOverCreditError(UserError):
    pass


class ConcessionSimilarWarning(UserWarning):
    pass


class ConcessionLimitError(UserError):
    pass


class ConcessionBudgetError(UserError):
    pass


class ConcessionBudgetWarning(UserWarning):
    pass


class DelegationAccessError(AccessError):
    pass


class DelegationValidationError(ValidationError):
    pass
