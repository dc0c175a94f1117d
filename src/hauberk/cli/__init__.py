"""The roof: `hauberk <verb>`. One module a family of commands, loaded only when its command is asked for."""
