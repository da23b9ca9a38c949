/* Small help for the reader: keep the newest words in view, close the list of chats on a phone. */
(() => {
  const NEAR_PX = 80;
  const HAND_MS = 600;
  const ASK_MS = 5000;
  let follows = true;
  let handAt = 0;
  let reveal = '';

  const scroller = () => document.querySelector('#cl-scroll');
  const closeList = () => document.querySelector('#cl-chat')?.classList.remove('cl-show-list');

  function keepInView(box) {
    if (follows) box.scrollTop = box.scrollHeight;
    if (reveal) {
      const button = box.querySelector(`[data-value="${CSS.escape(reveal)}"]`);
      const article = button?.closest('article');
      if (article?.querySelector('.cl-receipt')) {
        article.scrollIntoView({ block: 'nearest' });
        reveal = '';
      }
    }
  }

  function watch(box) {
    box.setAttribute('tabindex', '0');
    box.setAttribute('role', 'log');
    box.setAttribute('aria-label', 'Conversation');
    // Only the reader's own scrolling counts: a redraw moves the box as well.
    for (const kind of ['wheel', 'touchmove', 'pointerdown', 'keydown']) {
      box.addEventListener(kind, () => { handAt = Date.now(); }, { passive: true });
    }
    box.addEventListener('scroll', () => {
      if (Date.now() - handAt > HAND_MS) return;
      follows = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_PX;
    });
    new MutationObserver(() => keepInView(box)).observe(box, {
      childList: true, subtree: true, characterData: true,
    });
    new ResizeObserver(() => keepInView(box)).observe(box);
  }

  const waiting = new MutationObserver(() => {
    const box = scroller();
    if (!box || box.dataset.watched) return;
    box.dataset.watched = 'yes';
    watch(box);
  });

  // Gradio adds this script after the document has loaded, so there is no event to wait for.
  waiting.observe(document.documentElement, { childList: true, subtree: true });

  document.addEventListener('click', (event) => {
    // Back in the chat, what was said about another tab is old; the other tabs see to it alone.
    // Gradio's own event for this also comes when the page opens, and would take the welcome away.
    if (event.target.closest('#cl-tabs [role="tab"][data-tab-id="chat"]')) {
      document.querySelector('#cl-notice [data-action="dismiss"]')?.click();
    }
    const button = event.target.closest('[data-action], #cl-new-chat, #cl-send');
    if (!button) return;
    const action = button.dataset.action;
    if (action === 'open' || button.id === 'cl-new-chat') {
      closeList();
    }
    if (action === 'open' || action === 'starter' || button.id) follows = true;
    if (action === 'receipt') reveal = button.dataset.value;
    if (action === 'starter' || button.id === 'cl-new-chat') {
      document.querySelector('#cl-prompt textarea')?.focus();
    }
  });

  // Someone signed in or out: the browser fetches its new name, and all of its tabs open again with
  // nothing of before in them.
  const openAgain = () => location.replace(location.pathname);
  const others = new BroadcastChannel('chatledger');
  others.onmessage = openAgain;
  window.chatledgerExchange = async (code) => {
    if (!code) return;
    const headers = { 'Content-Type': 'application/json' };
    await fetch('session', { method: 'POST', headers, body: JSON.stringify({ code }) });
    // This tab alone is told what has happened.
    sessionStorage.setItem('chatledger-code', code);
    others.postMessage('opened again');
    openAgain();
  };

  // The page comes to itself under another address when a link of another site leads to it.
  if (location.search === '?here') history.replaceState(null, '', location.pathname);

  // This page is nothing without its server, and without its cookie: say so when either has gone.
  let wasKnown = false;
  async function ask() {
    let status = 0;
    try {
      ({ status } = await fetch('session', { cache: 'no-store' }));
    } catch {
      // No answer at all.
    }
    if (status === 403 && wasKnown) openAgain();
    wasKnown ||= status === 204;
    document.documentElement.classList.toggle('cl-away', status === 0 || status >= 500);
    document.documentElement.classList.toggle('cl-no-cookie', status === 403);
  }
  setInterval(ask, ASK_MS);
  ask();

  // Gradio has no words of its own for an event that was refused: show those of the server.
  const plainFetch = window.fetch;
  window.fetch = async (...given) => {
    const answer = await plainFetch(...given);
    if (new URL(answer.url).pathname.endsWith('/queue/join')) {
      const said = answer.ok ? {} : await answer.clone().json().catch(() => ({}));
      document.body.dataset.clRefusal = said.detail ?? '';
      document.documentElement.classList.toggle('cl-refused', Boolean(said.detail));
      if (answer.status === 403) ask();
    }
    return answer;
  };

  document.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && event.target.closest?.('#cl-prompt')) follows = true;
    if (event.key === 'Escape') closeList();
  });
})();
