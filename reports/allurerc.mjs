// How Allure 3 makes one HTML file of reports/out/allure-results: `nox -s report -- --allure`, which installs it with npm.
export default {
  name: "duende: falsification",
  output: "./out/allure",
  plugins: {
    awesome: {
      options: {
        reportName: "duende: falsification",
        singleFile: true,
        groupBy: ["epic", "feature", "story"],
      },
    },
  },
};
