// An extension of JupyterLab: "Restore to after this cell" and "Branch from here" in the menu of a
// code cell. Both send a magic to the kernel, which the host handles (jupyter/live_kernel.py).
//
// Written as it is loaded, without a build: a container of webpack's module federation, which takes
// JupyterLab's own modules from the scope that it is given.
(() => {
  const BRANCH = "application/vnd.kernel-env.branch+json";
  const OURS = ["kernel-env", "kernel-env-existing"];
  let scope;

  async function shared(name) {
    const versions = Object.values(scope[name]);
    const factory = await versions[versions.length - 1].get();
    return factory();
  }

  function provisioner(panel) {
    const context = panel.sessionContext;
    const name = context.session?.kernel?.name;
    const spec = context.specsManager.specs?.kernelspecs[name];
    return spec?.metadata?.kernel_provisioner?.provisioner_name;
  }

  async function call(panel, magic) {
    const result = { text: "", failed: false, branch: null };
    const future = panel.sessionContext.session.kernel.requestExecute({ code: magic });
    future.onIOPub = ({ header, content }) => {
      if (header.msg_type === "stream") {
        result.text += content.text;
      } else if (header.msg_type === "error") {
        result.text += content.evalue;
        result.failed = true;
      } else if (header.msg_type === "display_data") {
        result.text += content.data["text/plain"];
        result.branch = content.data[BRANCH];
      }
    };
    await future.done;
    return result;
  }

  async function plugin() {
    const { INotebookTracker } = await shared("@jupyterlab/notebook");
    const { Notification } = await shared("@jupyterlab/apputils");

    function show(result) {
      Notification.emit(result.text.trim(), result.failed ? "error" : "success", {
        autoClose: result.failed ? false : 8000,
      });
    }

    function activate(app, tracker) {
      function number() {
        const node = app.contextMenuHitTest((each) => each.classList.contains("jp-CodeCell"));
        const cells = tracker.currentWidget?.content.widgets ?? [];
        return cells.find((cell) => cell.node === node)?.model.executionCount;
      }

      const enabled = () =>
        Boolean(number()) && OURS.includes(provisioner(tracker.currentWidget));

      app.commands.addCommand("kernel-env:restore", {
        label: "Restore to After This Cell",
        caption: "Undo what later cells did to variables and files",
        isEnabled: enabled,
        execute: async () => {
          const panel = tracker.currentWidget;
          const last = number();
          const result = await call(panel, `%restore ${last}`);
          if (!result.failed) {
            for (const cell of panel.content.widgets) {
              if (cell.model.type === "code" && cell.model.executionCount > last) {
                cell.model.executionCount = null;
              }
            }
          }
          show(result);
        },
      });

      app.commands.addCommand("kernel-env:branch", {
        label: "Branch From Here",
        caption: "Open a copy of the notebook on a second kernel that continues after this cell",
        isEnabled: enabled,
        execute: async () => {
          const panel = tracker.currentWidget;
          const result = await call(panel, `%branch ${number()}`);
          const kernelspec = result.branch?.kernelspec;
          if (!kernelspec) {
            show(result);
            return;
          }
          await panel.context.save();
          const path = panel.context.path;
          const folder = path.split("/").slice(0, -1).join("/");
          const contents = app.serviceManager.contents;
          const copy = await contents.get((await contents.copy(path, folder)).path);
          copy.content.metadata.kernelspec = {
            name: kernelspec,
            display_name: result.branch.title,
            language: "python",
          };
          await contents.save(copy.path, copy);
          await app.serviceManager.kernelspecs.refreshSpecs();
          await app.commands.execute("docmanager:open", {
            path: copy.path,
            factory: "Notebook",
            options: { mode: "split-right" },
          });
          show({ text: result.branch.title, failed: false });
        },
      });

      for (const command of ["kernel-env:restore", "kernel-env:branch"]) {
        app.contextMenu.addItem({ command, selector: ".jp-Notebook .jp-CodeCell", rank: 0 });
      }
    }

    return { id: "kernel-env:undo", autoStart: true, requires: [INotebookTracker], activate };
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB["kernel-env"] = {
    init: (given) => {
      scope = given;
    },
    get: async () => {
      const defined = await plugin();
      return () => ({ __esModule: true, default: defined });
    },
  };
})();
