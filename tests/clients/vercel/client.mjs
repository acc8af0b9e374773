// The Vercel AI SDK over Responses and Chat Completions; run by tests/test_clients.py with the URL and the model.
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [baseURL, name] = process.argv.slice(2);
const openai = createOpenAI({ baseURL, apiKey: "none" });
// Nothing is stored, so items are passed back whole and not by reference.
const providerOptions = { openai: { store: false } };

for (const model of [openai.responses(name), openai.chat(name)]) {
  let asked = 0;
  const weather = tool({
    description: "The weather in a city.",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      asked += 1;
      return `21 °C in ${city}`;
    },
  });
  const looped = await generateText({
    model,
    prompt: "What is the weather in Rome?",
    tools: { weather },
    stopWhen: stepCountIs(4),
    maxRetries: 0,
    providerOptions,
  });
  assert.ok(asked > 0, "the tool was not called");
  assert.ok(looped.text, "no answer");

  const plain = await generateText({ model, prompt: "Say hello.", maxRetries: 0, providerOptions });
  const stream = streamText({
    model,
    prompt: "Say hello.",
    maxRetries: 0,
    providerOptions,
    onError: ({ error }) => {
      throw error;
    },
  });
  let text = "";
  for await (const part of stream.textStream) text += part;
  assert.equal(text, plain.text);
  assert.equal(await stream.finishReason, "stop");
}
