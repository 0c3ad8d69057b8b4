"""The errors a user can cause. Each carries one clear line: what is wrong, where, and what to do."""


class DknError(Exception):
    """Base of every error this project raises on purpose."""


class ConfigError(DknError):
    """An option, or a combination of options, that makes no sense."""


class CheckpointError(DknError):
    """A model file that is missing, damaged, or belongs to another network."""


class DataError(DknError):
    """A data set, recording or picture that is missing, damaged or laid out differently."""


class ImageError(DknError):
    """An image whose description does not match its contents, or whose format is not supported."""
