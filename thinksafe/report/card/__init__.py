"""What goes with an adapter or weights when they leave the run: the model card, and the bill of materials."""

from thinksafe.report.card.materials import bill_of_materials
from thinksafe.report.card.page import model_card

__all__ = ["bill_of_materials", "model_card"]
