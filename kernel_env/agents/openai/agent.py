"""Play episodes with a chat model behind any OpenAI-compatible endpoint.

The five actions are sent as tools. A model without tool calls can answer with an action as JSON or
with code in a fenced block (`answers`). An invalid answer is returned to the model with an
explanation; after several in a row the agent fails. The conversation is kept within the model's
context (`conversation`). How the endpoint is asked is in `model`.
"""

from contextlib import aclosing

from kernel_env.agents.base import Options
from kernel_env.agents.openai import answers, conversation
from kernel_env.agents.openai.answers import Answer
from kernel_env.agents.openai.conversation import Turn
from kernel_env.agents.openai.model import ChatModel
from kernel_env.episode.episode import Episode
from kernel_env.episode.tools import TOOLS, Fault, Finish
from kernel_env.errors import AgentError, AgentSetupError
from kernel_env.untrusted_text import escape_line

MAX_INVALID_ANSWERS = 3
"""Largest number of consecutive answers without a valid action that are returned to the model."""


class OpenAIAgent:
    """An agent that plays one episode as one conversation with a chat model."""

    settings = ()

    def __init__(self, options: Options) -> None:
        """Create the client.

        Raises:
            AgentSetupError: the model's name or the key is missing.
            UsageError: the endpoint's URL is invalid.
        """
        if not options.model:
            raise AgentSetupError("the openai agent needs a model; give one with --model NAME")
        self.model = options.model
        self.options = options
        self._chat = ChatModel(options, instructions=conversation.SYSTEM, tools=TOOLS)

    async def play(self, episode: Episode) -> None:
        """Ask the model and execute its actions until it is done or the budget is used up."""
        self._chat.check_price(episode)
        episode.note("instructions", conversation.SYSTEM)
        first = conversation.task_message(episode)
        episode.note("first_message", first)
        turns: list[Turn] = []
        invalid = 0
        async with aclosing(self._chat):
            while not episode.over:
                answer = await self._chat.ask(first, turns, episode)
                if answer is None:
                    continue  # the time budget is used up
                fault = answer.calls[0].action if answer.calls else None
                invalid = invalid + 1 if isinstance(fault, Fault) else 0
                if answer.done or (invalid > 1 and is_finished(answer, episode)):
                    episode.note("last_words", answer.thought)
                    return
                if isinstance(fault, Fault) and invalid > MAX_INVALID_ANSWERS:
                    episode.note("refused", answer.thought, reason=fault.reason)
                    raise AgentError(
                        f"{self.model} gave {invalid} consecutive answers without a valid action;"
                        f" the last: {self._chat.one_line(answer.text)!r}"
                        f" ({self._chat.one_line(fault.reason)})"
                    )
                turns.append(await take_actions(answer, episode, images=self.options.images))
                if (words := turns[-1].last_words) is not None:
                    episode.note("last_words", words)
                    return


def is_finished(answer: Answer, episode: Episode) -> bool:
    """Return whether an answer without an action, after an explanation, ends the episode.

    It does if a submission has been graded, or if the model says that it is done. A model that only
    talks and has submitted nothing is asked again, and fails in the end: it gave up.
    """
    plain = bool(answer.text) and answer.calls[0].action is answers.NO_ACTION
    graded = episode.progress.best is not None
    return plain and (graded or answers.SAYS_DONE.search(answer.text[-200:]) is not None)


async def take_actions(answer: Answer, episode: Episode, *, images: bool) -> Turn:
    """Execute the actions of an answer in order, up to the first one that fails.

    The actions after a failed one are not executed, because they expect its effects.
    """
    replies: list[str] = []
    pictures: list[str] = []
    stopped, last_words = "", None
    for number, call in enumerate(answer.calls):
        if over := episode.over:
            stopped = over
        if stopped:
            replies.append(f"not executed: {stopped}")
        elif isinstance(call.action, Fault):
            said = f"{call.name}({call.arguments})" if call.id else answer.thought
            episode.note("refused", said, reason=call.action.reason)
            replies.append(escape_line(call.action.reason))
            stopped = "an earlier call of this answer was invalid"
        elif isinstance(call.action, Finish):
            replies.append("the episode has ended")
            stopped = replies[-1]
            last_words = answers.join_paragraphs(answer.thought, call.action.message)
        else:
            await episode.act(call.action, thought=answer.thought if number == 0 else "")
            observation = episode.observation
            replies.append(observation.text)
            pictures += observation.images
            stopped = (
                "the code of an earlier call of this answer failed"
                if observation.error or observation.restored or observation.state_lost
                else ""
            )
    return Turn(
        answer=answer,
        replies=tuple(replies),
        images=tuple(pictures) if images else (),
        last_words=last_words,
    )
