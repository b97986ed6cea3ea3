"""Bodies and answers as OpenAI's API has them: JSON to wishes, pieces of text to answers."""
