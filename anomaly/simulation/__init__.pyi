from .kinds import KINDS as KINDS
from .kinds import simulate as simulate
