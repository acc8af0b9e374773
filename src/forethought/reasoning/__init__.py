"""One turn: a conversation becomes typed items (thinking, answer, tool calls) under an effort."""
