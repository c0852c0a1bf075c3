"""The stages as KFP container components: one folder each, no logic, the stage CLI is the command."""
