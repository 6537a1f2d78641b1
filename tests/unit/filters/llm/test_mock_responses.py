"""The responses API: numbered events around one message."""

from pixiu_py.filters.llm.mock.model import complete
from tests.fakes.mock_model import document, events, mock_model, post

PATH = "/v1/responses"


async def test_a_response_holds_one_message_and_counts_its_tokens() -> None:
    answer = await document(await post(mock_model(), PATH, {"input": "Hello"}))
    assert (answer["object"], answer["status"], answer["incomplete_details"]) == ("response", "completed", None)
    (item,) = answer["output"]
    (part,) = item["content"]
    assert (item["type"], item["status"], part["type"]) == ("message", "completed", "output_text")
    assert part["text"] == complete("Hello", 16).text
    usage = answer["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (2, 16, 18)
    assert usage["input_tokens_details"]["cached_tokens"] == 0


async def test_a_response_cut_off_is_incomplete_and_its_stream_ends_so() -> None:
    body = {"input": "Hello", "max_output_tokens": 3}
    answer = await document(await post(mock_model(), PATH, body))
    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    name, last = (await events(await post(mock_model(), PATH, {**body, "stream": True})))[-1]
    assert (name, last["response"]["status"]) == ("response.incomplete", "incomplete")


async def test_a_stream_is_numbered_from_created_to_completed_without_done() -> None:
    stream = await events(await post(mock_model(tokens=2), PATH, {"input": "Hello", "stream": True}))
    assert [name for name, _ in stream] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [data["sequence_number"] for _, data in stream] == list(range(10))
    assert all(data["type"] == name for name, data in stream)
    assert stream[0][1]["response"]["status"] == "in_progress"


async def test_the_deltas_add_up_to_the_final_text() -> None:
    stream = await events(await post(mock_model(), PATH, {"input": "Hello", "stream": True}))
    said = "".join(data["delta"] for name, data in stream if name == "response.output_text.delta")
    assert said == dict(stream)["response.output_text.done"]["text"]
    assert said == stream[-1][1]["response"]["output"][0]["content"][0]["text"]


async def test_instructions_and_a_list_of_messages_are_the_prompt() -> None:
    parts = [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}]
    listed = await document(await post(mock_model(), PATH, {"input": parts}))
    assert listed["output"][0]["content"][0]["text"] == complete("Hello", 16).text
    instructed = await document(await post(mock_model(), PATH, {"input": parts, "instructions": "Be brief"}))
    assert instructed["usage"]["input_tokens"] == 4


async def test_an_input_of_another_kind_is_refused() -> None:
    response = await post(mock_model(), PATH, {"input": 1})
    assert (response.status, (await document(response))["error"]["param"]) == (400, "input")
