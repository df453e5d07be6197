"""What the network sees: routes, streams, pages. Talks to the engine through its public methods only."""
