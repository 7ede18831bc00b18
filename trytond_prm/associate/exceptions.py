# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.exceptions import UserError, UserWarning
from trytond.model.exceptions import AccessError, ValidationError


class ShareClassAccessError(AccessError):
    pass


class ShareClassValidationError(ValidationError):
    pass


class ShareClassWarning(UserWarning):
    pass


class ShareTransactionAccessError(AccessError):
    pass


class ShareTransactionError(UserError):
    pass


class ShareHoldingError(UserError):
    pass


class ShareNumberError(UserError):
    pass


class ShareReportError(UserError):
    pass


class OCFImportError(UserError):
    pass


class OCFExportError(UserError):
    pass


class SeparationMilestoneValidationError(ValidationError):
    pass


class ExposureError(UserError):
    pass


class ExposureAccessError(AccessError):
    pass


class ExposureValidationError(ValidationError):
    pass


class BuybackTermsError(UserError):
    pass


class BuybackScheduleError(UserError):
    pass


class BuybackAccountError(UserError):
    pass


class BuybackCancelError(UserError):
    pass


class BuybackOverpayError(UserError):
    pass


class BuybackAmendmentError(UserError):
    pass


class BuybackUserError(UserError):
    pass


class BuybackOppositionWarning(UserWarning):
    pass


class BuybackEarnOutError(UserError):
    pass


class BuybackNoticeError(UserError):
    pass


class BuybackTerminateError(UserError):
    pass


class BuybackAccrualError(UserError):
    pass


class BuybackPayError(UserError):
    pass
