// The camera: one frame after the other goes to the server, which answers with a part of the page.
"use strict";

(() => {
  const SIDE = 800; // pixels of the longer side of a frame
  const PAUSE = 700; // milliseconds between an answer and the next frame
  const find = (id) => document.getElementById(id);
  const [camera, video, start, stop, trouble, result, boxes, said] =
    ["camera", "video", "start", "stop", "trouble", "result", "boxes", "said"].map(find);
  const canvas = document.createElement("canvas");
  let stream = null;
  let timer = 0;

  const WORDS = {
    NotAllowedError: "The browser may not use the camera. Allow it in the browser's settings of this page.",
    NotFoundError: "This device has no camera. Upload an image instead.",
    NotReadableError: "Another program uses the camera. Close it and start again.",
  };

  function say(text) {
    trouble.textContent = text;
    trouble.hidden = !text;
  }

  function frame() {
    const scale = Math.min(1, SIDE / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
  }

  async function look() {
    const used = stream;
    try {
      const form = new FormData();
      form.append("file", await frame(), "camera.jpg");
      const headers = { "X-CSRF-Token": camera.dataset.csrf, "HX-Request": "true" };
      const answer = await fetch("/camera/frame", { method: "POST", body: form, headers });
      if (stream !== used) return; // stopped, or started anew, meanwhile
      if (answer.redirected || answer.status === 401) {
        end("You are signed out. Load the page again.");
        return;
      }
      if (answer.status === 429 || answer.status === 503) {
        say("The server is busy; the camera goes on.");
      } else if (answer.ok) {
        say("");
        show(await answer.text());
      } else {
        end("The server has refused the frame. Load the page again.");
        return;
      }
    } catch {
      if (stream !== used) return;
      say("The server does not answer; the camera goes on.");
    }
    timer = setTimeout(look, PAUSE);
  }

  function show(text) {
    const part = new DOMParser().parseFromString(text, "text/html"); // runs no script
    const drawn = part.querySelector(".overlay");
    boxes.replaceChildren(...(drawn ? drawn.childNodes : []));
    drawn?.remove();
    const names = [...part.querySelectorAll("strong")].map((one) => one.textContent).join(", ");
    if (said.textContent !== names) said.textContent = names; // read out when it changes, not each second
    result.replaceChildren(...part.body.childNodes);
  }

  async function begin() {
    say("");
    if (!navigator.mediaDevices?.getUserMedia) {
      say("The browser gives no camera to this page: it needs HTTPS, or the address localhost.");
      return;
    }
    start.disabled = true;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } });
      video.srcObject = stream;
      await video.play();
    } catch (error) {
      end(WORDS[error.name] ?? "The camera cannot be used. Upload an image instead.");
      return;
    }
    stop.disabled = false;
    look();
  }

  function end(text) {
    clearTimeout(timer);
    stream?.getTracks().forEach((track) => track.stop());
    stream = video.srcObject = null;
    boxes.replaceChildren();
    start.disabled = false;
    stop.disabled = true;
    say(text);
  }

  start.addEventListener("click", begin);
  stop.addEventListener("click", () => end(""));
})();
