import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/controls.css";
import "./styles/documents.css";
import "./styles/conversation.css";
import "./styles/reader.css";
import { render } from "preact";
import { App } from "./components/App";
import { startSession } from "./state/session";

const root = document.getElementById("app");
if (root) render(<App />, root);
void startSession();
