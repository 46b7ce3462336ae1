"""Lists every resource of the API with its links, listings and commands: a newcomer's table of contents."""

from app.concern import resource as concern
from app.playbook import resource as playbook
from app.resources.catalog import Catalog
from app.roster import resource as roster
from app.support import resource as support

CATALOG = Catalog((roster, playbook, concern, support))
