import { endVisit } from "../api/client";
import { announce } from "./announcements";
import { clearArrivals } from "./arrivals";
import { clearCollections } from "./collections";
import { clearConversation } from "./conversation";
import { clearFailures } from "./failures";
import { closeReader } from "./reader";
import { clearUploads } from "./uploads";

/** Stops what is under way and takes off the page all that one person saw or chose, so that the next finds nothing. */
export function forgetAll(): void {
  endVisit();
  clearConversation();
  clearArrivals();
  clearFailures();
  clearUploads();
  clearCollections();
  closeReader();
  announce("");
}
