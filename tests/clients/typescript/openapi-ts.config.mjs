// Node's own module resolution wants the files' endings.
export default {
  input: process.env.PODGATE_DOCUMENT,
  output: { path: "podgate", importFileExtension: ".js" },
  plugins: ["@hey-api/client-fetch"],
};
