"""The online store over boto3: many records at a time, with retries, a rate limit and dead letters."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from conf.errors import PublishError
from stores.aws import FeatureStoreAddress
from stores.protocols import DeadLetter, FeatureType, Record, WriteOutcome
from stores.records import RecordLayout

RECORDS_PER_CALL = 25
IDENTIFIERS_PER_CALL = 100
_RETRYABLE_CODES = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "ProvisionedThroughputExceededException",
        "SlowDown",
        "RequestTimeout",
        "RequestTimeoutException",
        "InternalFailure",
        "InternalServerError",
        "ServiceUnavailable",
    }
)
_DENIED_CODES = frozenset(
    {
        "AccessForbidden",
        "AccessDenied",
        "AccessDeniedException",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "ExpiredToken",
        "ExpiredTokenException",
        "OptInRequired",
    }
)
_SPORADIC_MESSAGE = "Resource Not Found"  # a ValidationError that existing groups get now and then
_CUT_OFF = "the answer was cut off"  # botocore takes half an answer for an answer without members: tried


@dataclass(frozen=True)
class OnlineConfig:
    """How one task writes; small, and without secrets, so that it can be sent to Spark's workers."""

    address: FeatureStoreAddress = field(default_factory=FeatureStoreAddress)
    concurrency: int = 8
    """Calls in flight."""
    records_per_second: float | None = None
    """This task's share of the limit; None for as fast as the store takes them."""
    tries: int = 10
    """How often a record is sent at most."""
    longest_pause: float = 5.0
    """Seconds: no wait between two tries is longer."""
    most_dead_letters: int = 10_000
    """With more, something is wrong with more than the rows: the task fails."""
    use_batch_write: bool = True
    """False writes one record a call, for roles that may not BatchWriteRecord."""


def write_batches(
    batches: Iterator[pa.RecordBatch],
    *,
    group: str,
    record_identifier: str,
    event_time: str,
    features: Mapping[str, FeatureType],
    config: OnlineConfig,
    skip: str | None = None,
) -> WriteOutcome:
    """Write every row of `batches` to `group`, from wherever this runs; each row counts once in the outcome's `sent`.

    `features` names the columns to send, identifier and event time among them. A row whose boolean column `skip` is
    true is not sent, and counted as skipped. Memory holds one batch and the calls in flight.
    Raises: PublishError when columns don't fit the features, access is denied or too many records fail.
    """
    layout = RecordLayout(group, record_identifier, event_time, features)
    unreadable: list[DeadLetter] = []
    skipped = 0

    def records() -> Iterator[Record]:
        nonlocal skipped
        for batch in batches:
            kept = batch
            if skip is not None:
                kept = batch.filter(pc.invert(pc.fill_null(batch.column(skip), False)))
                skipped += batch.num_rows - kept.num_rows
            for record in layout.records(kept):
                if isinstance(record, Record):
                    yield record
                    continue
                unreadable.append(record)
                _check_dead_letters(group, unreadable, config)

    outcome = SageMakerOnlineStore(config).put_batch(group, records())
    return outcome + WriteOutcome(sent=skipped + len(unreadable), skipped=skipped, dead_letters=tuple(unreadable))


class SageMakerOnlineStore:
    """OnlineStore over the Feature Store's runtime. Not to be shared between processes; pickle its config instead."""

    def __init__(
        self,
        config: OnlineConfig,
        *,
        client: Any = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        # Retries are ours, so that they are counted, spread by full jitter, and limited to what may succeed.
        self._client = client or config.address.runtime(connections=config.concurrency, attempts=1)
        self._sleep = sleep
        self._random = random.Random()
        self._bucket = _TokenBucket(config.records_per_second, sleep=sleep, clock=clock)
        has_batch_write = "BatchWriteRecord" in self._client.meta.service_model.operation_names
        self._records_per_call = RECORDS_PER_CALL if has_batch_write and config.use_batch_write else 1

    def put_batch(self, group: str, records: Iterable[Record]) -> WriteOutcome:
        """Write records; of one identifier the newest event time stays, whatever the order.

        Raises: PublishError when access is denied or too many records fail.
        """
        sent = retried = 0
        dead_letters: list[DeadLetter] = []
        lost_calls = 0  # in a row, all of whose records were given up after every try
        remaining = iter(records)
        with ThreadPoolExecutor(self._config.concurrency, thread_name_prefix="online") as pool:
            in_flight: set[Future[_CallOutcome]] = set()
            try:
                while True:
                    while len(in_flight) < 2 * self._config.concurrency:
                        chunk = list(islice(remaining, self._records_per_call))
                        if not chunk:
                            break
                        sent += len(chunk)
                        in_flight.add(pool.submit(self._write_chunk, group, chunk))
                    if not in_flight:
                        break
                    done, in_flight = wait(in_flight, return_when=FIRST_COMPLETED)
                    for future in done:
                        outcome = future.result()
                        retried += outcome.retried
                        dead_letters += outcome.dead_letters
                        lost_calls = lost_calls + 1 if outcome.lost else 0
                    if lost_calls > 2 * self._config.concurrency:
                        last = dead_letters[-1]
                        raise PublishError(
                            f"{group}: the online store takes nothing, after {self._config.tries} tries a record;"
                            f" the last reason: {last.code}: {last.message}"
                        )
                    _check_dead_letters(group, dead_letters, self._config)
            except BaseException:
                for future in in_flight:
                    future.cancel()
                raise
        return WriteOutcome(sent=sent, written=sent - len(dead_letters), retried=retried, dead_letters=tuple(dead_letters))

    def get_records(self, group: str, identifiers: Sequence[str]) -> list[dict[str, str]]:
        """Return the records found, in the order asked for; an unknown or deleted identifier is absent.

        Raises: PublishError when the group can't be read.
        """
        found: dict[str, dict[str, str]] = {}
        for start in range(0, len(identifiers), IDENTIFIERS_PER_CALL):
            asked = list(dict.fromkeys(identifiers[start : start + IDENTIFIERS_PER_CALL]))
            for attempt in range(self._config.tries):
                answer, failure = self._ask(group, asked)
                for detail in answer["Records"]:
                    found[detail["RecordIdentifierValueAsString"]] = {
                        value["FeatureName"]: value["ValueAsString"] for value in detail["Record"] if "ValueAsString" in value
                    }
                for error in answer["Errors"]:
                    code, message = error["ErrorCode"], error["ErrorMessage"]
                    if not _is_retryable(code, message):
                        raise PublishError(f"{group}: can't read online records: {code}: {message}")
                    failure = f"{code}: {message}"
                asked = [error["RecordIdentifierValueAsString"] for error in answer["Errors"]] + [
                    identifier
                    for rest in answer["UnprocessedIdentifiers"]
                    for identifier in rest["RecordIdentifiersValueAsString"]
                ]
                if not asked:
                    break
                self._pause(attempt)
            else:
                raise PublishError(f"{group}: {len(asked)} records could not be read, the last reason: {failure}")
        return [found[identifier] for identifier in identifiers if identifier in found]

    def _ask(self, group: str, identifiers: list[str]) -> tuple[dict[str, Any], str]:
        """One BatchGetRecord; a call that failed and may succeed later is an answer with everything unprocessed."""
        request = {"FeatureGroupName": group, "RecordIdentifiersValueAsString": identifiers}
        try:
            answer = self._client.batch_get_record(Identifiers=[request])
            if {"Records", "Errors", "UnprocessedIdentifiers"} <= answer.keys():
                return answer, "left unprocessed"
            reason = _CUT_OFF
        except (ClientError, BotoCoreError) as error:
            code, message = _reason(error)
            if not _is_retryable(code, message):
                raise PublishError(f"{group}: can't read online records: {code}: {message}") from error
            reason = f"{code}: {message}"
        return {"Records": [], "Errors": [], "UnprocessedIdentifiers": [request]}, reason

    def _write_chunk(self, group: str, chunk: list[Record]) -> _CallOutcome:
        """Send one call's records until each is written or given up. Runs in one of the pool's threads."""
        dead_letters: list[DeadLetter] = []
        pending = [_Sending(record) for record in chunk]
        retried = 0
        for attempt in range(self._config.tries):
            if attempt:
                retried += len(pending)
                self._pause(attempt - 1)
            self._bucket.take(len(pending))
            retry: list[_Sending] = []
            for failed in self._call(group, pending):
                if _is_retryable(failed.code, failed.message):
                    retry.append(failed)
                else:
                    dead_letters.append(failed.dead_letter(group))
            pending = retry
            if not pending:
                break
        dead_letters += [failed.dead_letter(group) for failed in pending]
        return _CallOutcome(retried, dead_letters, lost=len(pending) == len(chunk))

    def _call(self, group: str, sendings: list[_Sending]) -> list[_Sending]:
        """Send once; return what was not written, each with its code and message.

        Raises: PublishError when access is denied, which no row can mend.
        """
        try:
            if self._records_per_call == 1:
                (sending,) = sendings
                self._client.put_record(FeatureGroupName=group, Record=_wire(sending.record))
                return []
            entries = [{"FeatureGroupName": group, "Record": _wire(sending.record)} for sending in sendings]
            answer = self._client.batch_write_record(Entries=entries)
            if "Errors" not in answer or "UnprocessedEntries" not in answer:
                return [replace(sending, code="ServiceUnavailable", message=_CUT_OFF) for sending in sendings]
        except (ClientError, BotoCoreError) as error:
            code, message = _reason(error)
            if code in _DENIED_CODES:
                raise PublishError(
                    f"{group}: not allowed to write online records: {code}: {message}; the role needs"
                    " sagemaker:PutRecord and sagemaker:BatchWriteRecord on this group"
                ) from error
            if len(sendings) > 1 and not _is_retryable(code, message):
                # One bad entry may have sunk the call: send each by itself to find out which.
                return [failed for sending in sendings for failed in self._call(group, [sending])]
            return [replace(sending, code=code, message=message) for sending in sendings]
        return _failed(sendings, answer)

    def _pause(self, attempt: int) -> None:
        """Full jitter: anywhere between nothing and twice as long as the time before."""
        self._sleep(self._random.uniform(0, min(self._config.longest_pause, 0.05 * 2**attempt)))


@dataclass(frozen=True)
class _Sending:
    """A record on its way, with the last reason why it wasn't written."""

    record: Record
    code: str = "Unprocessed"
    message: str = "the store left the record unprocessed"

    def dead_letter(self, group: str) -> DeadLetter:
        return DeadLetter(group, self.record.identifier, self.record.event_time, self.code, self.message)


@dataclass(frozen=True)
class _CallOutcome:
    retried: int
    dead_letters: list[DeadLetter]
    lost: bool
    """Every record of the call was given up after all tries, as when the store is down."""


class _TokenBucket:
    """Lets `per_second` records through, a second's worth at once; None lets all through."""

    def __init__(self, per_second: float | None, *, sleep: Callable[[float], None], clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._sleep = sleep
        self._clock = clock
        self._tokens = per_second or 0.0
        self._filled_at = clock()
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Return when `count` more records may be sent; the debt of a large call is waited for by the next one."""
        if self._per_second is None:
            return
        with self._lock:
            now = self._clock()
            self._tokens = min(self._per_second, self._tokens + (now - self._filled_at) * self._per_second)
            self._filled_at = now
            self._tokens -= count
            debt = -self._tokens / self._per_second
        if debt > 0:
            self._sleep(debt)


def _wire(record: Record) -> list[dict[str, str]]:
    return [{"FeatureName": name, "ValueAsString": text} for name, text in record.values.items()]


def _failed(sendings: list[_Sending], answer: Mapping[str, Any]) -> list[_Sending]:
    """What BatchWriteRecord's answer says was not written; entries have no ids, so they are matched by content."""
    if not answer["Errors"] and not answer["UnprocessedEntries"]:
        return []
    by_content: dict[frozenset[tuple[str, str]], deque[_Sending]] = {}
    for sending in sendings:
        by_content.setdefault(frozenset(sending.record.values.items()), deque()).append(sending)

    def of(entry: Mapping[str, Any]) -> _Sending:
        content = frozenset((value["FeatureName"], value["ValueAsString"]) for value in entry["Record"])
        return by_content[content].popleft()

    refused = [replace(of(error["Entry"]), code=error["ErrorCode"], message=error["ErrorMessage"]) for error in answer["Errors"]]
    return refused + [of(entry) for entry in answer["UnprocessedEntries"]]


def _reason(error: ClientError | BotoCoreError) -> tuple[str, str]:
    """Code and message of a failed call; what is not the service's own answer counts as ServiceUnavailable."""
    if isinstance(error, ClientError):
        code = str(error.response["Error"].get("Code", ""))
        message = str(error.response["Error"].get("Message", ""))
        status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
        if message.startswith("{"):  # botocore's message for a body that isn't whole
            return "ServiceUnavailable", _CUT_OFF
        if (status >= 500 or status == 429) and code not in _RETRYABLE_CODES:
            code = "ServiceUnavailable"
        return code, message
    if isinstance(error, ConnectionError | HTTPClientError):
        return "ServiceUnavailable", f"connection failed: {error}"
    raise error  # no credentials, no region: nothing that a row or a retry can mend


def _is_retryable(code: str, message: str) -> bool:
    return code in _RETRYABLE_CODES or code == "Unprocessed" or message.startswith(_SPORADIC_MESSAGE)


def _check_dead_letters(group: str, dead_letters: Sequence[DeadLetter], config: OnlineConfig) -> None:
    if len(dead_letters) > config.most_dead_letters:
        last = dead_letters[-1]
        raise PublishError(
            f"{group}: more than {config.most_dead_letters} records could not be written online, the last one"
            f" ({last.identifier}) because of {last.code}: {last.message}"
        )
