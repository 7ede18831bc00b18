# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.exceptions import UserError, UserWarning
from trytond.model.exceptions import AccessError, ValidationError


class ReviewClosedError(AccessError):
    pass


class ReviewPeriodError(ValidationError):
    pass


class ReviewRateError(ValidationError):
    pass


class ReviewRecipientError(UserError):
    pass


class ReviewNotOverWarning(UserWarning):
    pass
