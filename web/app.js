// The start page: vendors by name, and what each of them offers. Plain DOM, no build step.

const list = document.querySelector("#vendors");
const status = document.querySelector("#status");
const more = document.querySelector("#more");
const won = new Intl.NumberFormat("ko-KR", { style: "currency", currency: "KRW" });

let query = "";
let cursor = null;
// Answers of an older search that arrive late are dropped.
let search = 0;

/** Reads JSON, or throws what the problem document says. */
async function get(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.detail ?? `${response.status}`);
  return body;
}

/** An element with text; the text is never read as markup. */
function element(name, text = "", className = "") {
  const node = document.createElement(name);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

function vendorItem(vendor) {
  const details = document.createElement("details");
  const summary = element("summary", vendor.name);
  summary.append(" ", element("span", vendor.category, "category"));
  details.append(summary, element("p", vendor.summary ?? ""), element("p", vendor.address ?? "", "category"));
  details.addEventListener("toggle", () => showServices(vendor.id, details), { once: true });
  const item = document.createElement("li");
  item.append(details);
  return item;
}

async function showServices(id, details) {
  const services = document.createElement("dl");
  details.append(services);
  try {
    const vendor = await get(`/api/vendors/${encodeURIComponent(id)}`);
    for (const service of vendor.services) {
      services.append(
        element("dt", `${service.name} · ${service.duration_minutes}분`),
        element("dd", won.format(service.price)),
      );
    }
  } catch (error) {
    services.append(element("dt", `불러오지 못했습니다: ${error.message}`));
  }
}

async function load({ fresh }) {
  const mine = ++search;
  const parameters = new URLSearchParams({ limit: "20" });
  if (query) parameters.set("q", query);
  if (!fresh && cursor) parameters.set("cursor", cursor);
  status.textContent = "불러오는 중…";
  try {
    const page = await get(`/api/vendors?${parameters}`);
    if (mine !== search) return;
    if (fresh) list.replaceChildren();
    list.append(...page.items.map(vendorItem));
    cursor = page.next_cursor;
    more.hidden = !cursor;
    status.textContent = list.childElementCount ? "" : "찾는 업체가 없습니다.";
  } catch (error) {
    if (mine === search) status.textContent = `불러오지 못했습니다: ${error.message}`;
  }
}

document.querySelector("#search").addEventListener("submit", (event) => {
  event.preventDefault();
  query = new FormData(event.target).get("q").trim();
  load({ fresh: true });
});
more.addEventListener("click", () => load({ fresh: false }));
load({ fresh: true });
