"""The shapes world: coloured shapes on a plain background, where composition can be measured."""
