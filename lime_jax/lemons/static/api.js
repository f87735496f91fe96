// Questions to the server; answers, or an Error with one sentence for people.

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const ask = async (address, options) => {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The server answered ${response.status}.`);
  return { answer, isWork: response.status === 202 };
};

// Asks until the work is done; `tell` hears how far it is, `isStale` whether nobody waits any more.
const finished = async (job, tell, isStale) => {
  for (let wait = 150; job.state !== "done"; wait = Math.min(wait * 1.2, 600)) {
    if (job.state === "failed") throw new Error(job.error);
    if (isStale()) return false;
    tell(job);
    await pause(wait);
    job = (await ask(`/api/jobs/${job.job}`)).answer;
  }
  return true;
};

export const get = async (address) => (await ask(address)).answer;

// For what may have to be computed first; null if nobody waits any more.
export const getComputed = async (address, tell, isStale) => {
  for (;;) {
    const { answer, isWork } = await ask(address);
    if (!isWork) return isStale() ? null : answer;
    if (!(await finished(answer, tell, isStale))) return null;
  }
};

export const explain = async (question, tell, isStale) => {
  const { answer, isWork } = await ask("/api/explanations", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(question),
  });
  if (!isWork) return isStale() ? null : answer;
  if (!(await finished(answer, tell, isStale)) || isStale()) return null;
  return get(`/api/explanations/${answer.job}`);
};

export const upload = async (file) =>
  (await ask(`/api/uploads?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file }))
    .answer;

export const query = (values) => new URLSearchParams(values).toString();
