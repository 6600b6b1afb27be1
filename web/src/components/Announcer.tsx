import { announcement } from "../state/announcements";

/** Says what happened to people who listen to the page. */
export function Announcer() {
  return (
    <p class="visually-hidden" role="status" data-testid="announcer">
      {announcement.value}
    </p>
  );
}
