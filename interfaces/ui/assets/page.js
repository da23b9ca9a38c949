/* Small help for the reader: keep the newest words in view, close the list of chats on a phone. */
(() => {
  const NEAR_PX = 80;
  let follows = true;

  const scroller = () => document.querySelector('#cl-scroll');

  function followNewest(box) {
    if (follows) box.scrollTop = box.scrollHeight;
  }

  function watch(box) {
    box.setAttribute('tabindex', '0');
    box.setAttribute('role', 'log');
    box.setAttribute('aria-label', 'Conversation');
    box.addEventListener('scroll', () => {
      follows = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_PX;
    });
    new MutationObserver(() => followNewest(box)).observe(box, {
      childList: true, subtree: true, characterData: true,
    });
    new ResizeObserver(() => followNewest(box)).observe(box);
  }

  const waiting = new MutationObserver(() => {
    const box = scroller();
    if (!box || box.dataset.watched) return;
    box.dataset.watched = 'yes';
    watch(box);
  });

  document.addEventListener('DOMContentLoaded', () => {
    waiting.observe(document.body, { childList: true, subtree: true });
  });

  document.addEventListener('click', (event) => {
    const button = event.target.closest('[data-action], #cl-new-chat, #cl-send');
    if (!button) return;
    const action = button.dataset.action;
    if (action === 'open' || button.id === 'cl-new-chat') {
      document.body.classList.remove('cl-show-list');
    }
    if (action === 'open' || action === 'starter' || button.id) follows = true;
    if (action === 'starter' || button.id === 'cl-new-chat') {
      document.querySelector('#cl-prompt textarea')?.focus();
    }
  });

  document.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && event.target.closest?.('#cl-prompt')) follows = true;
    if (event.key === 'Escape') document.body.classList.remove('cl-show-list');
  });
})();
